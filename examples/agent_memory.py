"""An agent's memory in one file: write, find, revise, look back, forget. Run it: ``python examples/agent_memory.py``."""

import tempfile
from pathlib import Path

import remanence.store as stores


def main() -> None:
    """Tell a few things, ask for them, change one, and forget it."""
    folder = tempfile.TemporaryDirectory(prefix="remanence-")
    path = Path(folder.name) / "memory.db"
    with stores.open(path) as store:
        ana = store.write(
            "I moved to Lisbon in May", speaker="Ana", said_at="2026-05-03T10:00Z", scope="user/42", source="chat 7"
        )
        store.write("My cat is called Fado", speaker="Ana", scope="user/42", source="chat 7")
        store.write("The museum is closed on Mondays", speaker="Bruno", scope="user/43")

        (hit,) = store.read("In which city is Ana's home?", k=1, scope="user/42", explain=True)
        print(f"found: {hit.text!r}, because of {', '.join(hit.explain)}")

        store.revise(ana.id, "I moved to Porto", expected_version=1)
        now = store.read("In which city is Ana's home?", k=1, scope="user/42")[0]
        then = store.read("In which city is Ana's home?", k=1, scope="user/42", as_of="2026-05-04")[0]
        print(f"now: {now.text!r}; on the fourth of May: {then.text!r}")

        receipt = store.forget(ana.id)
        print(f"forgotten: {receipt.versions} versions; {receipt.checked}")
        print("left:", [record.text for record in store.list(scope="user/42")])
    folder.cleanup()


if __name__ == "__main__":
    main()
