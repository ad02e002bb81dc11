"""The machine code of a kernel: kept in a file, found again by the next process."""

import contextlib
import functools
import hashlib
import json
import pickle  # Numba keeps machine code as a pickle; only this file reads one, and only as code_cache.py allows
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, Self

import llvmlite.binding

from fastmlp.compilation import code_cache, levels, shipped, supported, waiting
from fastmlp.compilation.stamps import code_folder, digest_of_room, why_not_shipped
from fastmlp.errors import warn

with supported.parts():
    from numba.core import compiler, serialize
    from numba.core.codegen import JITCodeLibrary
    from numba.core.registry import cpu_target
    from numba.core.runtime import _nrt_python

_warned: list[str] = []


class Code(NamedTuple):
    """The machine code of one kernel as it is kept.

    A wheel leaves out the rest of those that are called by address only, and has the bitcode of all others in one file.
    """

    symbol: str  # of the kernel in the object file
    object_file: bytes
    bitcode: bytes  # what LLVM puts into other kernels that call this one
    rest: bytes  # a pickle: what Numba needs to call it from Python, and to compile calls of it

    @classmethod
    def of(cls, compiled: Any) -> Self:
        """Return the code of what Numba has compiled."""
        (name, _, (object_file, bitcode)), described, environment, signature, *_, reload_init, environments = compiled._reduce()
        # Those of Numba's own functions hold nothing; to load them, Numba would import the files of these functions.
        environments = [each for each in environments if each.consts or each.globals["__name__"].partition(".")[0] != "numba"]
        names = (described.llvm_func_name, described.llvm_cpython_wrapper_name, described.llvm_cfunc_wrapper_name)
        entries = [each for each in names if compiled.library.codegen._engine.is_symbol_defined(each)]
        rest = serialize.dumps((name, entries, described, environment, signature, reload_init, environments))
        return cls(described.llvm_func_name, object_file, bitcode, rest)

    @classmethod
    def unpacked(cls, payload: bytes) -> Self:
        """Return the code in a file."""
        head, _, content = payload.partition(b"\n")
        symbol, *sizes = json.loads(head)
        parts = [content[sum(sizes[:place]) :][:size] for place, size in enumerate(sizes)]
        return cls(symbol, *parts)

    def packed(self) -> bytes:
        """Return the content of a file."""
        _, *parts = self
        return json.dumps([self.symbol, *map(len, parts)]).encode() + b"\n" + b"".join(parts)

    def loaded(self) -> int:
        """Return the address of the kernel, whose code stays in memory."""
        _start_runtime()
        engine = cpu_target.target_context.codegen()._engine
        engine._ee.add_object_file(llvmlite.binding.ObjectFileRef.from_data(self.object_file))
        engine.finalize_object()
        found: int = engine.get_function_address(self.symbol)
        if found == 0:
            raise ValueError(f"{self.symbol}: expected a function of the object file, found none")
        return found

    def rebuilt(self, context: Any, bitcode: Callable[[], bytes]) -> Any:
        """Return what Numba made of the kernel once; `bitcode` gives that of the kernel, should another be compiled that calls it."""
        unpickled = pickle.loads(self.rest)  # noqa: S301  what is read is trusted
        name, entries, described, environment, signature, reload_init, environments = unpickled
        for start in reload_init:
            start()
        library = KeptLibrary(context.codegen(), name)
        library.take(self.object_file, entries, bitcode)
        entry_point = context.get_executable(library, described, environment)
        for each in environments:
            library.codegen.set_env(each.env_name, each)
        return compiler.compile_result(
            target_context=context, typing_context=context.typing_context, library=library, environment=environment,
            entry_point=entry_point, fndesc=described, type_annotation="", signature=signature, objectmode=False, lifted=(),
            reload_init=reload_init, referenced_envs=environments,
        )  # fmt: skip


class KeptLibrary(JITCodeLibrary):
    """Machine code from a file. Its bitcode is read where it is put into other code, which is seldom: a third of the time to load it."""

    _bitcode: Callable[[], bytes]
    _shared_module: Any

    def take(self, object_file: bytes, entries: list[str], bitcode: Callable[[], bytes]) -> None:
        """Load an object file; `entries`: the names in it that are asked for."""
        self.enable_object_caching()
        self._set_compiled_object(object_file)
        self._finalize_final_module()
        self.codegen._engine._defined_symbols.update(entries)
        self._bitcode = bitcode

    def _get_module_for_linking(self) -> Any:
        if self._shared_module is None:
            self._shared_module = llvmlite.binding.parse_bitcode(self._bitcode())
        return self._shared_module


@functools.cache
def _start_runtime() -> None:
    """Tell the linker what compiled code calls of Numba, which would compile some more for it, and load its compiler: half a second."""
    for name, place in _nrt_python.c_helpers.items():
        llvmlite.binding.add_symbol(name if name.startswith("_") else f"NRT_{name}", place)


class CompiledCode:
    """Where the machine code of one kernel is kept: one file per signature and target; see code_cache.py.

    Follows the interface of numba.core.caching._Cache. Whatever goes wrong here costs a compilation and one warning, never the run.
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        self.name = function.__qualname__
        self.source = digest_of_room(function.__code__.co_filename, function.__module__ or "")
        self.cache_path = None

    def load_overload(self, signature: Any, context: Any) -> Any:
        """Return the compiled code for a signature: the user's own, or what came with the package; None where there is neither."""
        _start_runtime()
        found = self._found(signature, context)
        if found is not None:
            return found
        waiting.tell_missed(self.name)
        return self._found(signature, context) if waiting.is_made_elsewhere(self.path(signature)) else None

    def _found(self, signature: Any, context: Any) -> Any:
        faults = []
        for read in (self._kept, self._shipped):
            try:
                kept = Code.unpacked(read(signature))
                if kept.rest:
                    return kept.rebuilt(context, self._bitcode(kept, signature))
            except FileNotFoundError:
                pass
            except Exception as error:
                faults.append(error)
        for fault in faults:  # a folder that cannot be used is worth a word where that costs a compilation
            _warn_of_cache(fault)
        return None

    def _bitcode(self, kept: Code, signature: Any) -> Callable[[], bytes]:
        """Return what gives the bitcode of code that is kept: its own, or that of the package."""
        bitcode = kept.bitcode
        return (lambda: bitcode) if bitcode else functools.partial(shipped.bitcode, levels.target().name, self._file(signature))

    def address(self, signature: Any) -> int | None:
        """Return the address of code that is kept; None where there is none, or something is wrong with it: compiling tells what."""
        for read in (self._kept, self._shipped):
            with contextlib.suppress(Exception):
                return Code.unpacked(read(signature)).loaded()
        return None

    def save_overload(self, signature: Any, compiled: Any) -> None:
        """Keep compiled code for later processes."""
        try:
            code_cache.write(self.path(signature), Code.of(compiled).packed())
        except Exception as error:
            _warn_of_cache(error)

    def enable(self) -> None:
        """Do nothing: the cache is always on."""

    def disable(self) -> None:
        """Do nothing: the cache is always on."""

    def flush(self) -> None:
        """Do nothing: stale code is never found."""

    def _kept(self, signature: Any) -> bytes:
        return code_cache.read(self.path(signature))

    def _shipped(self, signature: Any) -> bytes:
        if why_not_shipped() is not None:
            raise FileNotFoundError
        return shipped.read(levels.target().name, self._file(signature))

    def path(self, signature: Any) -> Path:
        """Return where the code for a signature is kept."""
        return code_folder() / self._file(signature)

    def _file(self, signature: Any) -> str:
        digest = hashlib.sha256(repr((signature, levels.target().key, self.source)).encode()).hexdigest()
        return f"{self.name}-{digest[:24]}.code"


def _warn_of_cache(error: Exception) -> None:
    """Warn of what is wrong with the cache, once: one fault meets every kernel."""
    if not _warned:
        _warned.append(_fault(error))
        warn(_warned[0], RuntimeWarning)


def _fault(error: Exception) -> str:
    folder = code_folder()
    if isinstance(error, shipped.Damaged):
        return f"{error}: install fastmlp anew; until then it compiles, which costs seconds once"
    if isinstance(error, code_cache.Damaged):
        return f"files of compiled code in {folder} are damaged or not the user's alone; they are made anew, which costs seconds once"
    if isinstance(error, code_cache.Distrusted):
        why = f"compiled code in {folder} is not used: {error}"
    elif isinstance(error, (OSError, ValueError, MemoryError, pickle.UnpicklingError, EOFError)):
        why = f"compiled code cannot be kept in {folder} ({type(error).__name__}: {error})".splitlines()[0]
    else:
        return f"compiled code cannot be kept, so each start compiles anew: {supported.unsupported(error)}"
    return f"{why}, so each start compiles anew; set FASTMLP_CACHE_DIR to a folder of your own"
