"""All faults. A new one: a function that disturbs a command, taking a `Trial`, and a line in FAULTS.

The function starts the command, disturbs it, and hands its end to `expect_status` or `expect_plain`; the harness then
runs the same command again and checks what must hold (trial.py). `times` is how often, at as many moments; `kills` is
how many kills each makes; `needs` says why it cannot be on this machine, "" where it can; with a `role` it is only
where the undisturbed command had a process of that role. `Trial.go` runs the command in another way: cut into
partitions, on Ray, into an object store.
"""

from collections.abc import Callable
from dataclasses import dataclass

from tests.chaos.faults import disks, kills, machine, services, stores
from tests.chaos.trial import Trial


def _nothing() -> str:
    return ""


@dataclass(frozen=True)
class Fault:
    """A way to disturb a command."""

    disturb: Callable[[Trial], None]
    times: int = 2
    kills: int = 0
    role: str = ""
    needs: Callable[[], str] = _nothing


FAULTS: dict[str, Fault] = {
    "kill_parent": Fault(kills.kill_parent, times=10, kills=1),
    "kill_all": Fault(kills.kill_all, times=4, kills=1),
    "kill_worker": Fault(kills.kill_worker, times=4, kills=1, role="worker"),
    "kill_decoder": Fault(kills.kill_decoder, times=2, kills=1, role="decoder"),
    "kill_at_publish": Fault(kills.kill_at_publish, kills=1),
    "kill_repeatedly": Fault(kills.kill_repeatedly, times=3, kills=kills.IN_A_ROW),
    "cut_kill_parent": Fault(kills.kill_parent_of_partitions, times=2, kills=1),
    "cut_kill_all": Fault(kills.kill_all_of_partitions, times=1, kills=1),
    "cut_kill_worker": Fault(kills.kill_worker_of_partitions, times=3, kills=1),
    "ray_kill_parent": Fault(kills.kill_parent_of_ray, times=1, kills=1, needs=kills.needs_ray),
    "ray_kill_worker": Fault(kills.kill_ray_worker, times=3, kills=1, needs=kills.needs_ray),
    "ray_kill_node": Fault(kills.kill_ray_node, times=1, kills=1, needs=kills.needs_ray),
    "sigterm": Fault(kills.sigterm),
    "sigint_twice": Fault(kills.sigint_twice),
    "paused": Fault(kills.paused, times=1),
    "disk_full": Fault(disks.disk_full, times=3, needs=disks.needs_mounts),
    "file_too_large": Fault(disks.file_too_large, times=1),
    "read_only": Fault(disks.read_only, needs=disks.needs_mounts),
    "slow_disk": Fault(disks.slow_disk, times=1, needs=disks.needs_strace),
    "failing_disk": Fault(disks.failing_disk, times=1, needs=disks.needs_strace),
    "bit_flip": Fault(disks.bit_flip, times=3),
    "half_file": Fault(disks.half_file, times=2),
    "clock_back": Fault(machine.clock_back, times=1, needs=machine.needs_faketime),
    "clock_forward": Fault(machine.clock_forward, times=1, needs=machine.needs_faketime),
    "few_handles": Fault(machine.few_handles),
    "few_handles_from_start": Fault(machine.few_handles_from_start, times=1),
    "little_memory": Fault(machine.little_memory),
    "memory_group": Fault(machine.memory_group, times=1, needs=machine.needs_memory_groups),
    "two_rebuilds": Fault(machine.two_rebuilds, times=1),
    "two_rebuilds_waiting": Fault(machine.two_rebuilds_waiting, times=1),
    "two_rebuilds_one_killed": Fault(machine.two_rebuilds_one_killed, kills=1),
    "endpoint_gone": Fault(services.endpoint_gone, times=1),
    "endpoint_errors": Fault(services.endpoint_errors),
    "endpoint_slow": Fault(services.endpoint_slow, times=1),
    "web_gone": Fault(services.web_gone),
    "web_flickers": Fault(services.web_flickers, times=1),
    "store_kill_parent": Fault(stores.kill_parent, times=3, kills=1),
    "store_kill_all": Fault(stores.kill_all, times=1, kills=1),
    "store_kill_repeatedly": Fault(stores.kill_repeatedly, times=2, kills=kills.IN_A_ROW),
    "store_slow": Fault(stores.slow, times=1),
    "store_errors": Fault(stores.errors, times=1),
    "store_resets": Fault(stores.resets, times=1),
    "store_answers_lost": Fault(stores.answers_lost, times=1),
    "store_gone": Fault(stores.gone),
    "store_flickers": Fault(stores.flickers, times=1),
    "store_denies": Fault(stores.denies, times=1),
    "store_ignores_conditions": Fault(stores.ignores_conditions, times=1),
    "store_two_rebuilds": Fault(stores.two_rebuilds, times=1),
}
