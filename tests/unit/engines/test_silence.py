"""How long a peer has been silent, as far as this process has listened."""

from scaler_notebook.engines.silence import Silence


def test_time_in_which_nobody_listened_does_not_count() -> None:
    silence = Silence(1.0)
    for moment in (0.0, 1.0, 500.0):  # stopped, or suspended, from the second on
        silence.ask(moment)
    assert silence.seconds == 3.0


def test_a_sign_of_life_ends_it() -> None:
    silence = Silence(1.0)
    silence.ask(0.0)
    silence.ask(1.5)
    silence.end()
    assert silence.seconds == 0.0
    silence.ask(10.0)  # nothing was asked for before
    assert silence.seconds == 0.0
    silence.ask(11.0)
    assert silence.seconds == 1.0
