"""The command `remanence`. Heavy modules are imported inside the commands, so that help comes at once."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, Any, NoReturn, Optional

import typer

from remanence.errors import RemanenceError, UsageError
from remanence.store.command import app as store_app
from remanence.version import __version__

app = typer.Typer(
    name="remanence",
    help="Lifelong memory for models and agents: run learners on a stream, under a budget, and see what they still know.",
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
)


def _version(asked: bool) -> None:
    if asked:
        typer.echo(__version__)
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    pass


Text = Optional[str]  # noqa: UP045 (typer reads the annotation at run time on every Python it supports)
Number = Optional[int]  # noqa: UP045
Real = Optional[float]  # noqa: UP045


@app.command()
def run(
    stream: Annotated[
        Text,
        typer.Argument(help="A named stream (see `remanence streams`), a CSV or parquet file, or a folder of images."),
    ] = None,
    learners: Annotated[Text, typer.Option(help="Comma-separated systems; join parts with +, as in er+fpf.")] = None,
    scenario: Annotated[list[str] | None, typer.Option(help="NAME:option=value,… ; may be repeated, in order.")] = None,
    experiences: Annotated[Number, typer.Option(min=1, help="How many experiences.")] = None,
    seeds: Annotated[Number, typer.Option(min=1, help="How many seeds.")] = None,
    budget: Annotated[
        Text,
        typer.Option(help="Largest footprint of a learner, such as 200KB; or several to run it under each, 8KB,64KB."),
    ] = None,
    probe_every: Annotated[Number, typer.Option(min=0, help="Updates between probes; 0 for none.")] = None,
    set_: Annotated[
        list[str] | None, typer.Option("--set", help="A hyperparameter, such as er.size=500; may be repeated.")
    ] = None,
    target: Annotated[Text, typer.Option(help="Own data: the column to predict.")] = None,
    by: Annotated[
        Text, typer.Option(help="Own data: slice by this column, or by day, week, month, quarter or year.")
    ] = None,
    hold_out: Annotated[
        Real, typer.Option(min=0.0, max=0.9, help="Own data: share of each slice held out for testing.")
    ] = None,
    model: Annotated[Text, typer.Option(help="mlp:100,100, cnn, resnet18 or linear.")] = None,
    epochs: Annotated[Number, typer.Option(min=1, help="Passes over each experience.")] = None,
    batch_size: Annotated[Number, typer.Option(min=1, help="New examples per update.")] = None,
    optimizer: Annotated[Text, typer.Option(help="sgd, adam or adamw.")] = None,
    lr: Annotated[Real, typer.Option(help="Learning rate for every learner.")] = None,
    momentum: Annotated[Real, typer.Option(help="Momentum of sgd.")] = None,
    weight_decay: Annotated[Real, typer.Option(help="Decay of the weights.")] = None,
    schedule: Annotated[Text, typer.Option(help="constant or cosine.")] = None,
    device: Annotated[Text, typer.Option(help="auto, cpu, cuda or mps.")] = None,
    precision: Annotated[Text, typer.Option(help="fp32 or bf16.")] = None,
    online: Annotated[
        bool | None, typer.Option("--online", help="Also score every new batch before it is learned.")
    ] = None,
    stack: Annotated[Optional[bool], typer.Option("--stack", help="Train the seeds of each learner together.")] = None,  # noqa: UP045
    deterministic: Annotated[bool, typer.Option(help="Refuse operations that are not deterministic.")] = False,
    jobs: Annotated[Number, typer.Option(min=1, help="Processes; by default one per core.")] = None,
    cluster: Annotated[Text, typer.Option(help="Address of a Ray cluster, or local.")] = None,
    config: Annotated[Optional[Path], typer.Option(help="A TOML file with all of this; flags win.")] = None,  # noqa: UP045
    out: Annotated[Optional[Path], typer.Option(help="Folder of the run; by default runs/STREAM-HASH.")] = None,  # noqa: UP045
    fresh: Annotated[bool, typer.Option("--fresh", help="Start beside a run of the same configuration.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the results as JSON.")] = False,
) -> None:
    """Let learners learn a stream, probe them while they learn, and leave a report.

    The same command goes on where it was stopped; a finished run prints its report.
    """
    from remanence.arena.command import run_command

    training = {
        "model": model,
        "epochs": epochs,
        "batch_size": batch_size,
        "optimizer": optimizer,
        "lr": lr,
        "momentum": momentum,
        "weight_decay": weight_decay,
        "schedule": schedule,
        "device": device,
        "precision": precision,
    }
    table = {"target": target, "by": by, "hold_out": hold_out}
    flags: dict[str, Any] = {
        "stream": stream,
        "learners": _list(learners),
        "scenario": scenario or None,
        "experiences": experiences,
        "seeds": seeds,
        "budget": budget,
        "probe_every": probe_every,
        "online": online,
        "stack": stack,
    }
    run_command(
        {key: value for key, value in flags.items() if value is not None},
        {key: value for key, value in training.items() if value is not None},
        {key: value for key, value in table.items() if value is not None},
        set_ or [],
        config=config,
        out=out,
        fresh=fresh,
        jobs=jobs,
        cluster=cluster,
        as_json=as_json,
        deterministic=deterministic,
    )


@app.command()
def systems(
    place: Annotated[Text, typer.Option(help="weights, context or store.")] = None,
    like: Annotated[Text, typer.Option(help="Only those whose card holds this text.")] = None,
) -> None:
    """List the systems: paper, claim and verdict."""
    from remanence.cards import systems_table

    if place not in (None, "weights", "context", "store"):
        raise UsageError(f"there is no place {place!r}: memory is in weights, context or store")
    _print(systems_table(place, like))


@app.command()
def show(name: Annotated[str, typer.Argument(help="A system.")]) -> None:
    """Show a system's card: paper, mechanism, hyperparameters, cost, claim."""
    from remanence.cards import card

    _print(card(name))


@app.command()
def prove(
    name: Annotated[str, typer.Argument(help="A system with a claim.")],
    seeds: Annotated[Number, typer.Option(min=5, help="Paired runs (5 or more).")] = None,
    jobs: Annotated[int, typer.Option(min=1, help="Processes.")] = 1,
    as_json: Annotated[bool, typer.Option("--json", help="Print the verdict as JSON.")] = False,
    audit: Annotated[
        bool, typer.Option("--audit", help="Run what is shown on five fresh seeds, and keep both.")
    ] = False,
) -> None:
    """Run a system's claim and print the verdict with its figures."""
    from remanence.claims.engine.command import prove_command

    prove_command(name, seeds, jobs, as_json, audit=audit, keep=audit)


@app.command()
def report(folder: Annotated[Path, typer.Argument(help="The folder of a run.")]) -> None:
    """Draw the report of a run again."""
    from remanence.arena.report import Report

    typer.echo(f"report: {Report.load(folder).save(folder)}")


@app.command()
def streams(
    as_json: Annotated[bool, typer.Option("--json", help="Print the list as JSON.")] = False,
) -> None:
    """List sources and scenarios: sizes, and whether the data is here."""
    from remanence.cards import streams_tables
    from remanence.streams import listing

    if as_json:
        typer.echo(json.dumps(listing(), indent=1))
        return
    for table in streams_tables():
        _print(table)


@app.command()
def prepare(
    name: Annotated[
        str, typer.Argument(help="tiny-lm (minutes), micro-lm (seconds), or tiny- and a memory layer.")
    ] = "tiny-lm",
    threads: Annotated[Number, typer.Option(min=1, help="Threads; by default as torch decides.")] = None,
    examine: Annotated[bool, typer.Option("--examine", help="Then print perplexity and recall by distance.")] = False,
) -> None:
    """Train one of the library's own language models and keep it in the cache.

    The same command goes on where it was stopped; a model that is there is left alone.
    """
    from remanence.context.recurrent import any_recipe
    from remanence.models.prepare import examine_command, prepare_command

    wanted = any_recipe(name)
    prepare_command(wanted, threads)
    if examine:
        examine_command(wanted)


app.add_typer(store_app, name="store")


def _list(text: str | None) -> list[str] | None:
    return None if text is None else [part.strip() for part in text.split(",") if part.strip()]


def _print(what: Any) -> None:
    from rich.console import Console

    Console(markup=False).print(what)  # names such as a-mem[rules] are no markup


def _stop(message: str, code: int) -> NoReturn:
    print(message, file=sys.stderr)
    raise SystemExit(code)


def main() -> None:
    """Run the command; a user's mistake is one line on standard error and exit code 2."""
    try:
        code = app(standalone_mode=False)
        if code == 130:  # typer turns an interruption into this code, and hands it back
            raise KeyboardInterrupt
    except typer.Exit as stop:
        raise SystemExit(stop.exit_code) from None
    except typer.Abort:
        _stop("interrupted", 130)
    except KeyboardInterrupt:
        _stop("interrupted: the same command goes on from the last checkpoint", 130)
    except RemanenceError as error:
        _stop(f"remanence: {error}", 2)
    except Exception as error:
        message = getattr(error, "format_message", None)  # click's own usage errors
        if message is None:
            raise
        if not message():  # no command was named, and the help was printed
            raise SystemExit(2) from None
        _stop(f"remanence: {message()}", 2)


if __name__ == "__main__":
    main()
