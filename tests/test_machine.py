"""What this process may use: by its affinity, its cgroup, its limits."""

import os
import pwd
import subprocess
import sys
from pathlib import Path

import pytest

from fastmlp import machine

GIB = 2**30


@pytest.fixture
def in_cgroup(monkeypatch, tmp_path):
    """A function: place this process into a made-up cgroup hierarchy of files {path: content}, and return its root."""

    def place(files: dict[str, str], own: str = "0::/\n") -> Path:
        for name, content in files.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content)
        read = machine._read
        monkeypatch.setattr(machine, "_read", lambda path: own if path == Path("/proc/self/cgroup") else read(path))
        return tmp_path

    return place


# Cores


@pytest.fixture(autouse=True)
def quota_read_anew():
    """Forget the quota of this process before and after a test, which may pretend another."""
    machine._own_quota.cache_clear()
    yield
    machine._own_quota.cache_clear()


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system has no affinity mask")
def test_an_affinity_mask_of_one_core_leaves_one_core():
    script = (
        "import os; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))}); from fastmlp import machine; print(machine.usable_cores())"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "1\n"


@pytest.mark.parametrize(("quota", "cores"), [(None, 8), (0.5, 1), (1.0, 1), (1.9, 1), (2.0, 2), (7.99, 7), (64.0, 8)])
def test_a_quota_cuts_the_cores_down_to_whole_ones_but_never_to_none(monkeypatch, quota, cores):
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(8)), raising=False)
    monkeypatch.setattr(machine, "cgroup_cpu_quota", lambda: quota)
    assert machine.usable_cores() == cores


def test_without_an_affinity_mask_all_cores_count(monkeypatch):
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 6)
    monkeypatch.setattr(machine, "cgroup_cpu_quota", lambda: None)
    assert machine.usable_cores() == 6


def test_where_nobody_knows_the_cores_there_is_one(monkeypatch):
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    monkeypatch.setattr(machine, "cgroup_cpu_quota", lambda: None)
    assert machine.usable_cores() == 1


@pytest.mark.parametrize(
    ("files", "own", "quota"),
    [
        ({}, "", None),
        ({"cpu.max": "max 100000\n"}, "0::/\n", None),
        ({"cpu.max": "150000 100000\n"}, "0::/\n", 1.5),
        ({"a/b/cpu.max": "50000 100000\n"}, "0::/a/b\n", 0.5),
        ({"a/cpu.max": "100000 100000\n", "a/b/cpu.max": "300000 100000\n"}, "0::/a/b\n", 1.0),  # the tighter one above counts
        ({"a/cpu.max": "100000 100000\n"}, "0::/other\n", None),
        ({"cpu/cpu.cfs_quota_us": "250000\n", "cpu/cpu.cfs_period_us": "100000\n"}, "3:cpu,cpuacct:/\n", 2.5),
        ({"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, "3:cpu,cpuacct:/\n", None),
        ({"cpu/x/cpu.cfs_quota_us": "200000\n", "cpu/x/cpu.cfs_period_us": "100000\n"}, "3:cpu,cpuacct:/x\n", 2.0),
        ({"cpu/cpu.cfs_quota_us": "\n\x1e150000", "cpu/cpu.cfs_period_us": "100000\n"}, "3:cpu,cpuacct:/\n", 1.5),
        ({"cpu.max": "100000 0\n"}, "0::/\n", None),
        ({"cpu.max": "rubbish\n"}, "0::/\n", None),
        ({"cpu.max": ""}, "0::/\n", None),
        ({"cpu.max": "100000 100000\n"}, "0::/../..\n", 1.0),  # a path that leaves the root is cut
    ],
)
def test_the_cpu_quota_is_read_from_either_version_of_cgroups(in_cgroup, files, own, quota):
    assert machine.cgroup_cpu_quota(in_cgroup(files, own)) == quota


# Memory


def test_without_limits_the_physical_memory_counts(in_cgroup):
    physical = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    assert machine.memory_limit(in_cgroup({"memory.max": "max\n"})) == physical


@pytest.mark.parametrize(
    ("files", "own"),
    [
        ({"memory.max": f"{GIB // 2}\n"}, "0::/\n"),
        ({"a/memory.max": f"{GIB // 2}\n", "a/b/memory.max": "max\n"}, "0::/a/b\n"),
        ({"memory/memory.limit_in_bytes": f"{GIB // 2}\n"}, "4:memory:/\n"),
        ({"memory/x/memory.limit_in_bytes": f"{GIB // 2}\n", "memory/memory.limit_in_bytes": f"{2**62}\n"}, "4:memory:/x\n"),
    ],
)
def test_the_memory_limit_is_read_from_either_version_of_cgroups(in_cgroup, files, own):
    assert machine.memory_limit(in_cgroup(files, own)) == GIB // 2


def test_a_limit_of_the_address_space_counts():
    limit = f"import resource; resource.setrlimit(resource.RLIMIT_AS, ({GIB // 2}, -1))"
    script = f"{limit}; from fastmlp import machine; print(machine.memory_limit())"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert int(done.stdout) <= GIB // 2


def test_the_peak_of_memory_is_in_bytes():
    held = bytearray(64 * 2**20)
    assert machine.peak_memory() > len(held)


@pytest.mark.skipif("VmHWM" not in machine._read(Path("/proc/self/status")), reason="this system tells of no process's own peak")
def test_the_peak_of_memory_is_not_that_of_the_process_that_started_this_one():
    held = bytearray(200 * 2**20)
    script = "from fastmlp import machine; print(machine.peak_memory())"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert 0 < int(done.stdout) < len(held)


# Names and folders


def test_the_cache_folder_may_be_named(monkeypatch, tmp_path):
    monkeypatch.setenv("FASTMLP_CACHE_DIR", str(tmp_path / "here"))
    assert machine.cache_folder() == tmp_path / "here"


@pytest.mark.skipif(sys.platform != "linux", reason="the folder is another one on other systems")
@pytest.mark.parametrize("named", ["", None])
def test_the_cache_folder_is_otherwise_that_of_the_user(monkeypatch, tmp_path, named):
    monkeypatch.delenv("FASTMLP_CACHE_DIR", raising=False)
    if named is not None:
        monkeypatch.setenv("FASTMLP_CACHE_DIR", named)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert machine.cache_folder() == tmp_path / "fastmlp"


def test_asking_for_the_cache_folder_makes_none(monkeypatch, tmp_path):
    monkeypatch.setenv("FASTMLP_CACHE_DIR", str(tmp_path / "here"))
    machine.cache_folder()
    assert not (tmp_path / "here").exists()


def test_the_facts_of_the_machine_are_those_of_the_single_questions():
    facts = machine.describe()
    assert (facts.cpu, facts.cores, facts.memory_bytes) == (machine.cpu_name(), machine.usable_cores(), machine.memory_limit())
    assert facts.python == ".".join(map(str, sys.version_info[:3]))
    assert facts.cpu
    assert facts.system


def test_a_machine_that_hides_its_cpu_still_has_a_name(monkeypatch):
    machine.cpu_name.cache_clear()
    monkeypatch.setattr(machine, "_read", lambda path: "")
    try:
        assert machine.cpu_name()
    finally:
        machine.cpu_name.cache_clear()


def test_the_machine_is_described_without_numpy_or_numba():
    script = "import sys; from fastmlp import machine; machine.describe(); print(sorted({'numpy', 'numba'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


@pytest.mark.parametrize(
    ("wanted", "cores"), [("1", 1), ("3", 3), ("64", 8), ("0", 8), ("-1", 8), ("", 8), ("many", 8), ("\u00b2", 8), ("9" * 30, 8)]
)
def test_numba_num_threads_cuts_the_cores(monkeypatch, wanted, cores):
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(8)), raising=False)
    monkeypatch.setattr(machine, "cgroup_cpu_quota", lambda: None)
    monkeypatch.setenv("NUMBA_NUM_THREADS", wanted)
    assert machine.usable_cores() == cores


DAMAGED_OWN = ["", "\n", "0\n", "0:\n", "rubbish", "0::\n", "1:2:3:4\n", "\0\n", "0::" + 100 * "/a" + "\n"]


@pytest.mark.parametrize(
    "content", ["", "max", "max max\n", "\u00b2 \u00b2\n", "-1 100000\n", "100000 0\n", "nan nan\n", "9" * 5000 + " 1\n"]
)
def test_damaged_cgroup_files_set_no_limit(in_cgroup, content, subtests):
    for own in DAMAGED_OWN:
        with subtests.test(own=own):
            root = in_cgroup({"cpu.max": content, "memory.max": content, "cpu/cpu.cfs_quota_us": content}, own)
            assert machine.cgroup_cpu_quota(root) is None
            assert machine.memory_limit(root) == machine.memory_limit(root / "nowhere")


def test_a_user_without_a_home_gets_no_folder_called_tilde(monkeypatch):
    def getpwuid(uid):
        raise KeyError

    for name in ("FASTMLP_CACHE_DIR", "XDG_CACHE_HOME", "HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(pwd, "getpwuid", getpwuid)
    assert machine.cache_folder() == Path("/.cache/fastmlp")


def test_thousands_of_threads_are_those_of_the_processors_with_a_word(monkeypatch):
    monkeypatch.setattr(machine, "usable_cores", lambda: 2)
    assert [machine.threads(wanted) for wanted in (None, 1, 7, 64)] == [2, 1, 7, 64]
    with pytest.warns(UserWarning, match="^threads: this process may use 2 processors, got 10,000 threads; 2 are used$"):
        assert machine.threads(10_000) == 2


def test_the_second_level_cache_is_the_smaller_one_of_two_kinds_of_cores(monkeypatch, tmp_path):
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {0, 1, 5}, raising=False)
    for cpu, size in ((0, "2048K"), (1, "1K"), (5, "512K")):
        for index, (level, of_level) in enumerate((("1", "32K"), ("2", size), ("3", "32768K"))):
            folder = tmp_path / f"cpu{cpu}" / "cache" / f"index{index}"
            folder.mkdir(parents=True)
            (folder / "level").write_text(level + "\n")
            (folder / "size").write_text(of_level + "\n")
    assert machine.second_level_cache(tmp_path) == 512 * 1024
    assert machine.second_level_cache(tmp_path / "nothing") == machine.MODEST_CACHE
