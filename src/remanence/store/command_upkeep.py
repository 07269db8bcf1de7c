"""Commands of `remanence store` that look after a store, move it, or say how it is."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Optional

import typer

from remanence.store.command_line import AsJson, EncoderName, File, Scope, Text, opened, progressing, settings_of


def consolidate(
    file: File,
    policy: Annotated[
        str, typer.Option(help="merge, link, decay, summarise, promote; several by commas.")
    ] = "merge,link,decay",
    scope: Scope = "*",
    set_: Annotated[Optional[list[str]], typer.Option("--set", help="A setting, such as half_life=30.")] = None,  # noqa: UP045
    language: Annotated[
        Text, typer.Option(help="A model behind an OpenAI-compatible endpoint; rules by default.")
    ] = None,
    encoder: EncoderName = "auto",
    as_json: AsJson = False,
) -> None:
    """Look after what is kept, when nothing arrives."""
    with opened(file, encoder, language=language) as store, progressing("consolidating", as_json) as progress:
        done = store.consolidate(
            [one.strip() for one in policy.split(",") if one.strip()],
            scope=scope,
            progress=progress,
            **settings_of(set_),
        )
    print(json.dumps(done) if as_json else ", ".join(f"{count:,} {name}" for name, count in done.items()))


def encode(file: File, encoder: EncoderName = "auto", as_json: AsJson = False) -> None:
    """Encode what waits for a vector; with another encoder, everything anew while the old vectors serve."""
    from remanence.store.connect import recorded_encoder
    from remanence.store.encode.encoder import encoder_of

    with opened(file) as store:
        changes = encoder != "auto" and recorded_encoder(store.database) not in (None, encoder)
    with opened(file, "auto" if changes else encoder) as store, progressing("encoding", as_json) as progress:
        if changes and (made := encoder_of(encoder)) is not None and made.name != store.statistics()["encoder"]:
            store.change_encoder(made, progress=progress)
            done = store.statistics()["versions"]
        else:
            done = store.encode(progress=progress)
    print(json.dumps({"encoded": done}) if as_json else f"{done:,} texts encoded")


def export(
    file: File, path: Annotated[Path, typer.Argument(help="Where to write JSON lines.")], as_json: AsJson = False
) -> None:
    """Write everything to JSON lines: all versions and links."""
    with opened(file) as store, progressing("exporting", as_json) as progress:
        count = store.export(path, progress=progress)
    print(json.dumps({"versions": count}) if as_json else f"{count:,} versions written to {path}")


def import_(
    file: File,
    path: Annotated[Path, typer.Argument(help="What export wrote.")],
    encoder: EncoderName = "auto",
    as_json: AsJson = False,
) -> None:
    """Read what export wrote, all of it or nothing. Makes the store where there is none."""
    with opened(file, encoder, create=True) as store, progressing("importing", as_json) as progress:
        count = store.import_(path, progress=progress)
    print(json.dumps({"versions": count}) if as_json else f"{count:,} versions read from {path}")


def stats(file: File, as_json: AsJson = False) -> None:
    """Show what a store holds, and what it weighs."""
    from remanence.store.printing import show, statistics_table

    with opened(file) as store:
        found = store.statistics()
    if as_json:
        print(json.dumps(found))
    else:
        show(statistics_table(found))


def doctor(
    file: File,
    check: Annotated[bool, typer.Option("--check", help="Only say what is wrong, mend nothing.")] = False,
    as_json: AsJson = False,
) -> None:
    """Check a store, and mend its indexes where they are missing, stale or torn. Exit code 1 where --check finds something."""
    with opened(file) as store:
        wrong = list(store.check(repair=not check))
        if not check:
            store.optimize()
    print(json.dumps(wrong) if as_json else "\n".join(wrong) or "all is well")
    if wrong and check:
        raise typer.Exit(1)


def bench(
    file: File,
    questions: Annotated[int, typer.Option(min=1, help="How many readings to time.")] = 50,
    encoder: EncoderName = "auto",
    as_json: AsJson = False,
) -> None:
    """Time this store on this machine: opening, reading by meaning and by both, and durable writes in a scratch store."""
    from remanence.store.measuring import measure
    from remanence.store.printing import show, statistics_table

    figures = measure(file, questions, encoder)
    if as_json:
        print(json.dumps(figures))
    else:
        show(statistics_table(figures))
