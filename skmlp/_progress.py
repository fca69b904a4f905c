"""What `verbose` prints."""

import sys

from ._cache import raise_if_not_the_systems


def print_lines(task, seconds, *, is_stream):
    """Of every verbose-th epoch its number, loss, score, rate and time; and at last why
    the training ended."""
    state, settings = task.state, task.settings
    is_end = state.stop_reason and not is_stream
    if state.n_iter % int(settings.verbose) and not is_end:
        return
    line = f"Epoch {state.n_iter}/{task.last_epoch}: loss {state.loss_curve[-1]:.5f}"
    if task.validation is not None and task.validation.record:
        line += f", validation loss {state.validation_loss_curve[-1]:.5f}"
        if settings.scoring != "loss":
            name = name_of_score(settings.scoring)
            line += f", {name} {state.validation_scores[-1]:.5f}"
    lines = [f"{line}, rate {task.last_rate:.3g}, {seconds:.3g} s"]
    if is_end:
        why = {
            "max_iter": f"max_iter={settings.max_iter}",
            "early_stopping": "no improvement for more than n_iter_no_change="
            f"{settings.n_iter_no_change} epochs",
            "callback": "a callback asked for it",
        }[state.stop_reason]
        best = "" if state.best is None else f"; epoch {state.best.n_iter} is restored"
        lines.append(f"Ended after {state.n_iter} epochs: {why}{best}.")
    say(*lines)


def name_of_score(scoring):
    """What the scores are called, in words: a scorer's or a function's name."""
    if scoring is None or isinstance(scoring, str):
        return {None: "accuracy", "loss": "negative loss"}.get(scoring, scoring)
    name = getattr(scoring, "__name__", "")
    is_name = isinstance(name, str) and name.isidentifier()  # as a lambda's is not
    return name if is_name else "score"


def print_that_it_compiles():
    say("Compiling the training step, once for this environment: some seconds.")


def say(*lines):
    try:
        print(*lines, sep="\n", flush=True)
    except OSError as error:  # a full disk costs the lines, not the epochs
        raise_if_not_the_systems(error)
    except ValueError:  # so does a closed file
        if not sys.stdout.closed:
            raise
