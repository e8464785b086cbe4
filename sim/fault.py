"""A fault to plant in the Verilog of a unit."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Fault:
    r"""One planted fault.

    Parameters
    ----------
    name : str
        What is wrong.
    right, wrong : str
        The fragment of the Verilog and its replacement; "$N" stands for the signal "\$N ".
    module : str
        Submodule that holds the fragment, or empty: the unit's own module.
    count : int
        How often the fragment occurs there; all are replaced.
    equivalent : str
        Why no bench can see it, if none can.
    """

    name: str
    right: str
    wrong: str
    module: str = ""
    count: int = 1
    equivalent: str = ""


READY = Fault("ready ignored by the first register", "$1  | load_2;", "1'h1;")
LAST_READY = Fault("ready of the receiver ignored", "$3  | o__ready;", "1'h1;")
