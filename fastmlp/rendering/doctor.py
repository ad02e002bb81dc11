"""What the doctor found -> text: facts, measurements, and advice at the end, where it is read."""

from fastmlp.benchmark.doctor import Report
from fastmlp.quantities import percent
from fastmlp.rendering.benchmark import duration
from fastmlp.rendering.ladder import peak_parts

LABEL = 12


def report(found: Report) -> str:
    """Return a report as labelled lines."""
    lines = [*_machine(found), *_software(found), *_measured(found), *_network(found)]
    text = "\n".join(f"{label:<{LABEL}}{value}" for label, value in lines)
    advice = "\n".join(f"- {line}" for line in found.advice) or "- nothing: all is as it should be"
    return f"{text}\n\nadvice\n{advice}"


def _machine(found: Report) -> list[tuple[str, str]]:
    cpu = found.cpu
    limits = [f"{cpu.allowed} by affinity"] if cpu.allowed != cpu.present else []
    limits += [f"{cpu.quota:g} by cgroup"] if cpu.quota is not None else []
    cores = f"{cpu.usable} usable of {cpu.present}" + (f" ({', '.join(limits)})" if limits else "")
    load = "" if cpu.load is None else f", load {cpu.load:.1f}"
    levels = ", ".join(f"level {level} {_bytes(size)}" for level, size in sorted(cpu.caches.items()))
    memory = "" if cpu.memory_bytes is None else f"; memory {_bytes(cpu.memory_bytes)}"
    return [
        ("processor", f"{cpu.name}, {cpu.architecture}"),
        ("cores", cores + load),
        ("vectors", f"{8 * cpu.vector_bytes} bits in use; the processor has {cpu.widest}; code is made for {cpu.target}"),
        ("caches", levels + memory),
    ]


def _software(found: Report) -> list[tuple[str, str]]:
    names = ("fastmlp", "python", "numba", "llvmlite", "llvm", "numpy")
    cache = found.cache
    state = f"{cache.kernels} kernels compiled, {_bytes(cache.bytes)}" if cache.kernels else "empty: the first training compiles"
    old = f"; {_bytes(cache.old_bytes)} of other versions beside it" if cache.old_bytes else ""
    lines = [
        ("versions", ", ".join(f"{name} {found.versions[name]}" for name in names)),
        ("system", found.versions["system"]),
        ("cache", f"{cache.folder}: {state}{old}{'' if cache.writable else '; cannot be written'}"),
    ]
    code = f"{cache.shipped} kernels" if cache.why_not_shipped is None else f"not used: {cache.why_not_shipped}"
    lines.append(("shipped", f"machine code that came with the package: {code}"))
    if found.variables:
        lines.append(("set", ", ".join(f"{name}={value}" for name, value in found.variables.items())))
    return lines


def _measured(found: Report) -> list[tuple[str, str]]:
    launches = found.launches
    text = f"own threads {duration(launches.team)} a run, {duration(launches.barrier)} a barrier"
    if launches.parallel is not None:
        text += f"; Numba ({launches.layer}) {duration(launches.parallel)} a parallel loop"
    on, arithmetic, streams = peak_parts(found.peaks)
    return [("peak", f"{on}: {arithmetic}"), ("bandwidth", f"{on}: {streams}"), ("threads", text)]


def _network(found: Report) -> list[tuple[str, str]]:
    plan = found.plan
    how = plan.kernels + (f" of {', '.join(plan.tiles)} vectors" if plan.tiles else "")
    share = percent(plan.share_of_peak, 0)
    threads = "1 thread" if plan.threads == 1 else f"{plan.threads} threads"
    return [
        ("network", f"{'-'.join(map(str, plan.sizes))}, batch {plan.batch_size}: {how}, {threads}, {share} of the peak"),
        ("expect", f"{duration(plan.seconds)} per epoch of {plan.rows:,} rows, {duration(plan.sparse_seconds)} with zeros as in MNIST"),
    ]


def _bytes(size: int) -> str:
    for unit, name in ((2**30, "GiB"), (2**20, "MiB"), (2**10, "KiB")):
        if size >= unit:
            return f"{size / unit:.3g} {name}"
    return f"{size} B"
