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
        The fragment of the Verilog and its replacement. "$A", "$B" ... stand for signals to which
        Yosys gives running numbers ("\$7 "), "name$A" for one of several of a name: a letter is the
        same number wherever it stands.
    module : str
        Submodule that holds the fragment, or empty: the unit's own module.
    count : int
        How often the fragment occurs there.
    nth : int
        Which of them is replaced, from 1; 0 for all.
    given : str
        Another fragment, which occurs once, that says which signal a letter of `wrong` is.
    equivalent : str
        Why no bench can see it, if none can.
    """

    name: str
    right: str
    wrong: str
    module: str = ""
    count: int = 1
    nth: int = 0
    given: str = ""
    equivalent: str = ""


READY = Fault("ready ignored by the first register", "$A  | load_2;", "1'h1;")
LAST_READY = Fault("ready of the receiver ignored", "$A  | o__ready;", "1'h1;")
