"""Many short jobs, side by side: each trains in one of as many processes as there are cores.

Much of a short job is compilation, on one core; processes keep all of them busy.
"""

import dataclasses
import multiprocessing
import os
import signal
from collections.abc import Iterable, Sequence
from multiprocessing.queues import SimpleQueue

from rich.progress import track

from experiments.harness.backends.backend import load_backend
from experiments.harness.backends.cores import available_cores
from experiments.harness.records.results import Run
from experiments.harness.running import report
from experiments.harness.saving.session import Session
from experiments.harness.training.runner import Job, interruptible, train_runs


def train_in_processes(
    jobs: Iterable[Job], seeds: Sequence[int], session: Session, title: str
) -> list[Run]:
    """The runs of all jobs by JAX, in their order; checkpoints are saved between jobs.

    Raises:
      Interrupted: carries what was measured.
    """
    jobs = [
        dataclasses.replace(job, recipe=dataclasses.replace(job.recipe, devices=1)) for job in jobs
    ]
    by_job: dict[int, list[Run]] = {}
    runs: list[Run] = []  # those of ``by_job``, in order

    def add(i: int, ended: list[Run]) -> None:
        by_job[i] = ended
        runs[:] = [run for _, group in sorted(by_job.items()) for run in group]

    with interruptible(runs):
        for i, job in enumerate(jobs):
            done = session.recall(job.new_runs(seeds, "jax"))
            if done is not None:
                add(i, done)
        left = [(i, job, seeds) for i, job in enumerate(jobs) if i not in by_job]
        context = multiprocessing.get_context("spawn")
        cores = available_cores()
        queue: SimpleQueue[int] = context.SimpleQueue()
        for core in cores:
            queue.put(core)
        with context.Pool(min(len(cores), max(1, len(left))), _start, (queue,)) as pool:
            ended = pool.imap_unordered(_train, left)
            for i, trained in track(ended, title, len(left), console=report.console):
                add(i, trained)
                session.end(trained, [])
    return runs


def _start(queue: "SimpleQueue[int]") -> None:
    """In a new process: one core, one JAX device, and signals are for the parent."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    core = queue.get()
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {core})  # XLA counts its threads by it
    load_backend("jax").start(1)


def _train(work: tuple[int, Job, Sequence[int]]) -> tuple[int, list[Run]]:
    i, job, seeds = work
    return i, train_runs(job, seeds)
