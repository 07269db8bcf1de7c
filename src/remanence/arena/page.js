"use strict";
const tip = document.getElementById("tip");
const list = (svg, name) => svg.dataset[name].split(",").map(Number);

function pointAt(line, x) {
  let best = null, near = Infinity;
  for (const p of line.points) {
    const away = Math.abs(p.x - x);
    if (away < near) { near = away; best = p; }
  }
  return best;
}

for (const svg of document.querySelectorAll("svg.lines")) {
  const [x0, x1, left, right] = list(svg, "x"), [y0, y1, foot, top] = list(svg, "y");
  const log = svg.dataset.scale === "log", percent = svg.dataset.percent === "1", cursor = svg.querySelector(".cursor");
  svg.addEventListener("pointermove", (event) => {
    const at = new DOMPoint(event.clientX, event.clientY).matrixTransform(svg.getScreenCTM().inverse());
    if (at.x < left || at.x > right) return hide();
    const shown = [];
    for (const line of svg.querySelectorAll("polyline")) {
      const p = pointAt(line, at.x);
      const value = y0 + (foot - p.y) / (foot - top) * (y1 - y0);
      shown.push([value, line.dataset.name, line.style.stroke]);
    }
    shown.sort((a, b) => b[0] - a[0]);
    tip.replaceChildren();
    const head = document.createElement("b");
    const share = (at.x - left) / (right - left);
    const place = log ? x0 * (x1 / x0) ** share : x0 + share * (x1 - x0);
    head.textContent = `${svg.dataset.label}: ${place < 20 ? place.toFixed(1) : Math.round(place)}`;
    tip.append(head);
    for (const [value, name, colour] of shown.slice(0, 16)) {
      const row = document.createElement("div"), mark = document.createElement("i");
      mark.style.background = colour;
      row.append(mark, `${percent ? (100 * value).toFixed(1) : value.toPrecision(4)}  ${name}`);
      tip.append(row);
    }
    cursor.setAttribute("x1", at.x); cursor.setAttribute("x2", at.x);
    cursor.setAttribute("y1", top); cursor.setAttribute("y2", foot);
    cursor.style.visibility = tip.style.visibility = "visible";
    const wide = tip.offsetWidth, high = tip.offsetHeight;
    tip.style.left = `${event.clientX + 16 + wide > innerWidth ? event.clientX - wide - 12 : event.clientX + 16}px`;
    tip.style.top = `${Math.max(4, Math.min(event.clientY + 12, innerHeight - high - 4))}px`;
  });
  const hide = () => { tip.style.visibility = cursor.style.visibility = "hidden"; };
  svg.addEventListener("pointerleave", hide);
}

for (const legend of document.querySelectorAll("ul.legend")) {
  const charts = legend.closest("section").querySelectorAll("svg.chart");
  let held = null;
  const show = (key) => {
    for (const svg of charts) {
      svg.classList.toggle("one", key !== null);
      for (const part of svg.querySelectorAll("[data-line]")) part.classList.toggle("on", part.dataset.line === key);
    }
  };
  for (const button of legend.querySelectorAll("button")) {
    const key = button.dataset.line;
    button.addEventListener("pointerenter", () => show(key));
    button.addEventListener("pointerleave", () => show(held));
    button.addEventListener("click", () => {
      held = held === key ? null : key;
      for (const other of legend.querySelectorAll("button")) other.setAttribute("aria-pressed", other.dataset.line === held);
      show(held);
    });
  }
}
