"""What a pickle would name and call, found by following its instructions without doing them.

Names may be put together from the memo and taken apart over several instructions, so a search for them is not enough:
every instruction is followed, with a stack and a memo of symbols. joblib writes the bytes of arrays between the
instructions; they are stepped over as joblib would read them. `pickletools` has the instructions.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from packager.errors import ConversionError
from packager.importers._pickle_symbols import Made, Name, Table, broken, item_size

if TYPE_CHECKING:
    from collections.abc import Callable

    from packager.importers._compression import Stream
    from packager.importers._pickle_symbols import Symbol

MOST_INSTRUCTIONS = 20_000_000
_LONGEST_NAME = 1024
"""Of a text that is kept: longer ones are no names."""
_LARGEST_EMBEDDED = 1 << 20
_DEEPEST = 8
"""Of pickles inside of pickles."""
_ARRAY = "joblib.numpy_pickle.NumpyArrayWrapper"
COMPUTED = "a name that is computed"
PERSISTENT = "a persistent id"
EXTENSION = "a registered extension"


class Machine:
    """Follows one pickle."""

    def __init__(
        self, stream: Stream, seen: Callable[[str], None], depth: int = 0, most: int = MOST_INSTRUCTIONS
    ) -> None:
        """`seen` is told each name that the pickle asks for, again and again."""
        self._stream = stream
        self._seen = seen
        self._depth = depth
        self._most = most
        self._stack: list[Symbol] = []
        self._marks: list[int] = []
        self._memo: dict[int, Symbol] = {}
        self._frame_end = 0
        self.instructions = 0

    def follow(self) -> Symbol:
        """What the pickle comes to.

        Raises:
            ConversionError: it is not a pickle, or past a limit.
        """
        stream, actions = self._stream, _ACTIONS
        while True:
            self.instructions += 1
            if self.instructions > self._most:
                raise broken(f"it has more than {self._most} instructions")
            code = stream.read(1)[0]
            if code == _STOP:
                return self._pop()
            action = actions.get(code)
            if action is None:
                raise broken(f"the instruction {code:#04x} is not known")
            action(self)

    def _pop(self) -> Symbol:
        if not self._stack or (self._marks and len(self._stack) <= self._marks[-1]):
            raise broken("an instruction takes more than there is")
        return self._stack.pop()

    def _pop_mark(self) -> list[Symbol]:
        if not self._marks:
            raise broken("an instruction asks for a mark that is not there")
        start = self._marks.pop()
        above = self._stack[start:]
        del self._stack[start:]
        return above

    def _push(self, symbol: Symbol = None) -> None:
        self._stack.append(symbol)

    def _integer(self, code: str) -> int:
        number: int = struct.unpack(code, self._stream.read(struct.calcsize(code)))[0]
        return number

    def _decimal(self) -> int:
        line = self._stream.line().strip().rstrip(b"L")
        if not line.lstrip(b"-").isdigit() or len(line) > 4000:  # noqa: PLR2004 - digits that int() takes
            raise broken("a number has no digits, or too many")
        return int(line)

    def proto(self) -> None:
        """The version."""
        self._stream.read(1)

    def frame(self) -> None:
        """What comes is read ahead, which matters where an array follows."""
        self._frame_end = self._integer("<Q") + self._stream.position

    def global_(self) -> None:
        """A name in two lines."""
        self._name(self._stream.line().decode(errors="replace"), self._stream.line().decode(errors="replace"))

    def stack_global(self) -> None:
        """A name from the stack."""
        name, module = self._pop(), self._pop()
        self._name(module, name)

    def _name(self, module: Symbol, name: Symbol) -> None:
        text = f"{module}.{name}" if isinstance(module, str) and isinstance(name, str) else COMPUTED
        self._seen(text)
        self._push(Name(text))

    def call(self) -> None:
        """A call with a tuple."""
        arguments, kind = self._pop(), self._pop()
        self._push(Made(kind, arguments if isinstance(arguments, tuple) else ()))

    def call_with_names(self) -> None:
        """A call with a tuple and a dictionary."""
        self._pop()
        self.call()

    def instance(self) -> None:
        """A name in two lines, called with what is above the mark."""
        arguments = self._pop_mark()
        self.global_()
        self._push(Made(self._pop(), tuple(arguments)))

    def object_(self) -> None:
        """The first above the mark, called with the others."""
        above = self._pop_mark()
        if not above:
            raise broken("an instruction takes more than there is")
        self._push(Made(above[0], tuple(above[1:])))

    def build(self) -> None:
        """State for what is below it; an array's bytes follow."""
        state, target = self._pop(), self._pop()
        self._push(target)
        if isinstance(target, Made):
            target.state = state
            if target.kind == Name(_ARRAY):
                self._step_over(target)

    def _step_over(self, array: Made) -> None:
        """The bytes of an array, as joblib's NumpyArrayWrapper.read_array reads them."""
        if self._stream.position < self._frame_end:
            raise broken("an array stands within a frame")
        entries = array.state.entries if isinstance(array.state, Table) else {}
        size, objects = item_size(entries.get("dtype"))
        if objects:
            self._follow_inner(self._stream)
            return
        shape = entries.get("shape")
        count = size
        for extent in shape if isinstance(shape, tuple) else (None,):
            if not isinstance(extent, int) or extent < 0:
                raise broken("an array has no shape")
            count *= extent
        if entries.get("numpy_array_alignment_bytes") is not None:
            self._stream.skip(self._stream.read(1)[0])
        self._stream.skip(count)

    def _follow_inner(self, stream: Stream) -> None:
        if self._depth >= _DEEPEST:
            raise broken(f"pickles inside of pickles are more than {_DEEPEST} deep")
        inner = Machine(stream, self._seen, self._depth + 1, self._most)
        inner.instructions = self.instructions
        inner.follow()
        self.instructions = inner.instructions

    def integer_line(self) -> None:
        """A number, or a boolean, in a line."""
        self._push(self._decimal())

    def number(self, code: str) -> None:
        """A number of fixed width."""
        self._push(self._integer(code))

    def long(self, code: str) -> None:
        """A number of any width."""
        size = self._integer(code)
        if size < 0:
            raise broken("a length is below zero")
        if size > 8:  # noqa: PLR2004 - bytes of what may say how long an array is
            self._stream.skip(size)
            self._push()
        else:
            self._push(int.from_bytes(self._stream.read(size), "little", signed=True))

    def text(self, code: str) -> None:
        """Text of a length."""
        size = self._integer(code)
        if size < 0:
            raise broken("a length is below zero")
        if size > _LONGEST_NAME:
            self._stream.skip(size)
            self._push()
        else:
            self._push(self._stream.read(size).decode(errors="replace"))

    def text_line(self) -> None:
        """Text in a line: quoted as Python does, or with escapes."""
        line = self._stream.line()[: 4 * _LONGEST_NAME]
        quoted = line[:1] in {b"'", b'"'} and line[:1] == line[-1:] and len(line) > 1
        self._push((line[1:-1] if quoted else line).decode("raw-unicode-escape", errors="replace"))

    def data(self, code: str) -> None:
        """Bytes, which may be a pickle that something else reads."""
        from io import BytesIO

        from packager.importers._compression import Stream

        size = self._integer(code)
        if size > _LARGEST_EMBEDDED:
            self._stream.skip(size)
        else:
            content = self._stream.read(size)
            if content.endswith(b".") and content[:1] in _STARTS:
                # What is no pickle has names only by chance, and they are not believed.
                found: list[str] = []
                inner = Machine(Stream(BytesIO(content)), found.append, self._depth + 1, self._most)
                inner.instructions = self.instructions
                try:
                    if self._depth < _DEEPEST:
                        inner.follow()
                except ConversionError:
                    found = []
                self.instructions = max(self.instructions, inner.instructions)
                for text in found:
                    self._seen(text)
        self._push()

    def nothing(self) -> None:
        """A constant."""
        self._push()

    def tuple_of(self, count: int) -> None:
        """A tuple of the last ones."""
        found = [self._pop() for _ in range(count)]
        self._push(tuple(found[::-1]))

    def tuple_mark(self) -> None:
        """A tuple of what is above the mark; of a long one nothing matters."""
        above = self._pop_mark()
        self._push(tuple(above) if len(above) <= 64 else ())  # noqa: PLR2004 - numpy's most dimensions

    def empty_table(self) -> None:
        """A dictionary."""
        self._push(Table())

    def filled_table(self) -> None:
        """A dictionary of what is above the mark."""
        above = self._pop_mark()
        self._push(Table())
        self._keep(above)

    def set_item(self) -> None:
        """One entry."""
        value, key = self._pop(), self._pop()
        self._keep([key, value])

    def set_items(self) -> None:
        """The entries above the mark."""
        self._keep(self._pop_mark())

    def _keep(self, pairs: list[Symbol]) -> None:
        if self._stack and isinstance(table := self._stack[-1], Table):
            table.keep(pairs)

    def append(self) -> None:
        """One entry of a list."""
        self._pop()

    def forget_mark(self) -> None:
        """Entries of a list or set, or nothing at all."""
        self._pop_mark()

    def filled(self) -> None:
        """A list or frozen set of what is above the mark."""
        self._pop_mark()
        self._push()

    def mark(self) -> None:
        """A mark."""
        self._marks.append(len(self._stack))

    def pop(self) -> None:
        """The last one goes; or the mark."""
        if self._marks and self._marks[-1] == len(self._stack):
            self._marks.pop()
        else:
            self._pop()

    def duplicate(self) -> None:
        """The last one, twice."""
        symbol = self._pop()
        self._stack += [symbol, symbol]

    def put_line(self) -> None:
        """Into the memo."""
        self._put(self._decimal())

    def put(self, code: str) -> None:
        """Into the memo."""
        self._put(self._integer(code))

    def memoize(self) -> None:
        """Into the memo, at its end."""
        self._put(len(self._memo))

    def _put(self, place: int) -> None:
        if not 0 <= place <= 2 * self.instructions + _LONGEST_NAME:
            raise broken(f"it asks for a memo of {place} entries")
        if not self._stack:
            raise broken("an instruction takes more than there is")
        self._memo[place] = self._stack[-1]

    def get_line(self) -> None:
        """From the memo."""
        self._get(self._decimal())

    def get(self, code: str) -> None:
        """From the memo."""
        self._get(self._integer(code))

    def _get(self, place: int) -> None:
        if place not in self._memo:
            raise broken(f"nothing is at place {place} of its memo")
        self._push(self._memo[place])

    def persistent_line(self) -> None:
        """What the reader's program has under an id."""
        self._stream.line()
        self._seen(PERSISTENT)
        self._push()

    def persistent(self) -> None:
        """Likewise, with the id from the stack."""
        self._pop()
        self._seen(PERSISTENT)
        self._push()

    def extension(self, size: int) -> None:
        """A name by a number that this machine's registry knows."""
        self._stream.read(size)
        self._seen(EXTENSION)
        self._push(Name(EXTENSION))

    def line_number(self) -> None:
        """A float in a line."""
        self._stream.line()
        self._push()

    def skipped(self, size: int) -> None:
        """A value of fixed width that does not matter."""
        self._stream.read(size)
        self._push()


def _with(action: Callable[[Machine, str], None], code: str) -> Callable[[Machine], None]:
    return lambda machine: action(machine, code)


def _sized(action: Callable[[Machine, int], None], size: int) -> Callable[[Machine], None]:
    return lambda machine: action(machine, size)


_STOP = ord(".")
_STARTS = tuple(bytes([code]) for code in b"\x80(]}c)lItSVXU")
_M = Machine
_ACTIONS: dict[int, Callable[[Machine], None]] = {
    ord(code): action
    for code, action in {
        "\x80": _M.proto, "\x95": _M.frame, "c": _M.global_, "\x93": _M.stack_global,
        "R": _M.call, "\x81": _M.call, "\x92": _M.call_with_names, "i": _M.instance, "o": _M.object_, "b": _M.build,
        "I": _M.integer_line, "L": _M.integer_line, "F": _M.line_number, "G": _sized(_M.skipped, 8),
        "J": _with(_M.number, "<i"), "K": _with(_M.number, "B"), "M": _with(_M.number, "<H"),
        "\x8a": _with(_M.long, "B"), "\x8b": _with(_M.long, "<i"),
        "S": _M.text_line, "V": _M.text_line, "\x8c": _with(_M.text, "B"), "X": _with(_M.text, "<I"),
        "\x8d": _with(_M.text, "<Q"), "T": _with(_M.text, "<i"), "U": _with(_M.text, "B"),
        "B": _with(_M.data, "<I"), "C": _with(_M.data, "B"), "\x8e": _with(_M.data, "<Q"), "\x96": _with(_M.data, "<Q"),
        "N": _M.nothing, "\x88": _M.nothing, "\x89": _M.nothing, "]": _M.nothing, "\x8f": _M.nothing,
        ")": _sized(_M.tuple_of, 0), "\x85": _sized(_M.tuple_of, 1), "\x86": _sized(_M.tuple_of, 2),
        "\x87": _sized(_M.tuple_of, 3), "t": _M.tuple_mark, "}": _M.empty_table, "d": _M.filled_table,
        "s": _M.set_item, "u": _M.set_items, "a": _M.append, "e": _M.forget_mark, "\x90": _M.forget_mark,
        "l": _M.filled, "\x91": _M.filled, "(": _M.mark, "0": _M.pop, "1": _M.forget_mark, "2": _M.duplicate,
        "p": _M.put_line, "q": _with(_M.put, "B"), "r": _with(_M.put, "<I"), "\x94": _M.memoize,
        "g": _M.get_line, "h": _with(_M.get, "B"), "j": _with(_M.get, "<I"),
        "P": _M.persistent_line, "Q": _M.persistent, "\x82": _sized(_M.extension, 1),
        "\x83": _sized(_M.extension, 2), "\x84": _sized(_M.extension, 4),
    }.items()
}  # fmt: skip
