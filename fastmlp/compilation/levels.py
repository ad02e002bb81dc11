"""For which processors code is made: a level of x86-64, the same for all that have it, or else the processor that Numba has in mind.

A level is a set of instructions that the psABI of x86-64 names, and so does LLVM; one of them has an extension. Code for it is the same
code on each processor that has these instructions: it can be kept on a disk that different machines share, or come with the package, and
gives the same bits.

Only this file knows what a level is.
"""

import functools
import os
import re
from typing import Any, NamedTuple

import llvmlite.binding

from fastmlp.compilation import supported
from fastmlp.errors import ConfigError

with supported.parts():
    from numba.core import compiler, config
    from numba.core.codegen import JITCodeLibrary
    from numba.core.registry import cpu_target

VARIABLE = "FASTMLP_LEVEL"
NATIVE = "native"
_V2 = ("cx16", "popcnt", "sahf", "sse3", "sse4.1", "sse4.2", "ssse3")
_V3 = (*_V2, "avx", "avx2", "bmi", "bmi2", "f16c", "fma", "lzcnt", "movbe", "xsave")
_V4 = (*_V3, "avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl")
# The newest first. One below would hardly be met: every x86-64 processor since 2015, but for a few small ones, has the third. With VBMI2
# (Ice Lake and Zen 4 or later) zeros.py lists the inputs that are not zero by one instruction: without, two threads take 1.05 times as long
# for MNIST and 784-300-10 (Emerald Rapids, 2026-11).
LEVELS = {"x86-64-v4+vbmi2": (*_V4, "avx512vbmi2"), "x86-64-v4": _V4, "x86-64-v3": _V3}
_DEFINITION = re.compile(r"^(define .*?)((?: comdat(?:\(\$[^)]*\))?| align \d+| ![\w.]+ !\d+)*) \{$", re.MULTILINE)


class Target(NamedTuple):
    """What code is made for."""

    triple: str  # LLVM's name of the system and its kind of processor
    name: str  # a level, or the processor that Numba has in mind
    features: frozenset[str]  # by LLVM's names
    is_level: bool

    @property
    def key(self) -> tuple[str, ...]:
        """Return what tells code for this target from code for any other."""
        return (self.triple, self.name) if self.is_level else (self.triple, self.name, *sorted(self.features))

    def applied(self, text: str) -> str:
        """Return a module of LLVM's with every function of it made for this level."""
        features = ",".join(f"+{feature}" for feature in sorted(self.features))
        processor = self.name.partition("+")[0]
        return _DEFINITION.sub(rf'\1 "target-cpu"="{processor}" "target-features"="{features}"\2 {{', text)


@functools.cache
def native() -> Target:
    """Return what Numba makes code for: this processor, or what NUMBA_CPU_NAME and NUMBA_CPU_FEATURES leave of it."""
    triple, processor, features = cpu_target.target_context.codegen().magic_tuple()
    return Target(triple, processor, frozenset(each[1:] for each in features.split(",") if each.startswith("+")), is_level=False)


def possible() -> dict[str, Target]:
    """Return the levels that this processor has, by name, the highest first."""
    here = native()
    has = [name for name, needed in LEVELS.items() if here.triple.startswith("x86_64") and here.features.issuperset(needed)]
    return {name: Target(here.triple, name, frozenset(LEVELS[name]), is_level=True) for name in has}


@functools.cache
def target() -> Target:
    """Return what code is made for: the highest level that is possible, or what FASTMLP_LEVEL says. Raises ConfigError."""
    choices = {**possible(), NATIVE: native()}
    wanted = os.environ.get(VARIABLE) or next(iter(choices))
    if wanted not in choices:
        hidden = ", as far as NUMBA_CPU_NAME and NUMBA_CPU_FEATURES let it" if config.CPU_NAME or config.CPU_FEATURES else ""
        known = f"a level that this processor has{hidden} ({', '.join(choices)})"
        raise ConfigError(f"{VARIABLE}: expected {known}, got {wanted!r}; unset it, or choose one")
    return choices[wanted]


class _Library(JITCodeLibrary):
    """Functions that are compiled for the level of `target`, those of Numba's that they call included."""

    _final_module: Any

    def _optimize_final_module(self) -> None:
        module = llvmlite.binding.parse_assembly(target().applied(str(self._final_module)))
        module.name = self._final_module.name
        self._final_module = module
        super()._optimize_final_module()


class LevelCompiler(compiler.Compiler):
    """Numba's usual pipeline for a level of the processor, where it has one."""

    def define_pipelines(self) -> list[Any]:
        """Exchange the library that the code goes to."""
        if target().is_level:
            self.state.library = _Library(self.state.targetctx.codegen(), self.state.func_id.func_qualname)
            self.state.library.enable_object_caching()
        pipelines: list[Any] = super().define_pipelines()
        return pipelines
