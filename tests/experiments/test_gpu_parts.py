"""What the parts measure: that contenders train, that variants compute the same, and no times."""

import jax
import numpy as np
import pytest

import jaxrnn
from experiments.benchmark.contenders import Work
from experiments.gpu import contenders, parity, projection, speed, variants
from experiments.gpu.part_process import read_rows
from experiments.gpu.summary import CELLS
from jaxrnn import bptt
from jaxrnn.tasks import AddingTask
from tests.experiments.test_gpu_rows import process

WORK = Work(AddingTask(6), batch_size=3, hidden=5, steps=2)


def loss_of(found) -> float:
    """The last loss of a chunk; jaxrnn's gives its state too, which the next chunk overwrites."""
    return found if isinstance(found, float) else float(found[1].loss[-1])


@pytest.mark.parametrize("cell", CELLS)
def test_every_contender_is_made_and_runs(cell):
    made = contenders.contenders(WORK, cell, on_gpu=False, with_torch=True)
    paths = ["jaxrnn, fused", "jaxrnn, scan"] if cell == "vanilla" else ["jaxrnn, scan"]
    assert list(made) == [*paths, "flax.linen", f"torch.nn.{CELLS[cell].torch_module}"]
    for name, make in made.items():
        chunk = make()
        first, second = loss_of(chunk()), loss_of(chunk())
        assert np.isfinite(first), name
        assert first != second, name
    on_gpu = contenders.contenders(WORK, cell, on_gpu=True, with_torch=False)
    assert list(on_gpu) == [*paths, f"{paths[0]}, TF32", "flax.linen"]


def test_a_chunk_asks_for_the_precision_it_is_named_by():
    step, state = contenders.train_step(WORK)
    asked = []

    def spy(state, batch):
        asked.append(jax.config.jax_default_matmul_precision)
        return step(state, batch)

    for precision in (contenders.FLOAT32, contenders.TF32):
        contenders.jax_chunk(WORK, spy, state, precision)()
    assert asked == ["highest", "tensorfloat32"]


def loops(text: str) -> set[int]:
    """The lengths of the loops over time in a jaxpr, by what they are unrolled by."""
    return {int(part.split()[0].split("]")[0]) for part in text.split("unroll=")[1:]}


def test_variants_compute_what_the_plain_step_does():
    plain = variants.variant(WORK)()

    def traced(unroll):
        step, state = contenders.train_step(WORK, recurrence="fused")

        def chunk(state, batches):
            with variants.unrolled(unroll):
                return jax.lax.scan(step, state, batches)

        return str(jax.make_jaxpr(chunk)(state, WORK.batches()))

    assert 4 in loops(traced(4))
    assert 4 not in loops(traced(1))
    assert bptt.UNROLL == 1
    for settings in ({"unroll": 4}, {"seeds": 3}):
        other = variants.variant(WORK, **settings)()
        for leaf, expected in zip(
            jax.tree.leaves(other[0].params), jax.tree.leaves(plain[0].params), strict=True
        ):
            assert leaf.shape[0] == settings.get("seeds", 1)
            # Two steps of Adam at 1e-3 from equal gradients to rounding: 1e-6 of the weights.
            np.testing.assert_allclose(leaf[-1], expected[0], rtol=1e-5, atol=1e-6)


def test_a_projection_step_leaves_the_matrices_orthogonal():
    N, count = 6, 3
    for name in projection.RETRACTIONS:
        (params, _), _ = projection.projection_step(name, N, count)()
        W = np.asarray(params["h"]["kernel"], np.float64)
        # The rounding of float32 in products of six numbers; measured 3e-7.
        np.testing.assert_allclose(
            np.swapaxes(W, 1, 2) @ W, np.tile(np.eye(N), (3, 1, 1)), atol=1e-5
        )
    assert set(projection.RETRACTIONS) == set(jaxrnn.orthogonal.RETRACTIONS)
    W, move = projection.matrices(N, count)
    Q = np.linalg.qr(W + move)[0]
    assert abs(projection.torch_step(N, count, "cpu")()) == pytest.approx(abs(Q[0, 0, 0]), rel=1e-4)


def test_sizes_cover_what_was_asked_for():
    sizes = {(N, B, T) for N in (128, 190, 256, 512) for B in (16, 128) for T in (150, 1000)}
    assert set(speed.SIZES) == sizes
    assert len(speed.SIZES) == len(sizes)
    assert [{size[i] for size in speed.SIZES[:4]} for i in range(3)] == [
        *({128, 190, 256, 512}, {16, 128}, {150, 1000})
    ]
    assert {N for N, _ in projection.CASES} == {128, 512, 2048}
    assert 64 in {count for _, count in projection.CASES}


def test_a_contender_that_fails_leaves_the_others_in_the_race(tmp_path, monkeypatch):
    part = process(monkeypatch, tmp_path / "rows")

    def fails():
        raise RuntimeError("no kernel image")

    def made(work, cell, on_gpu, with_torch):
        return {"jaxrnn, fused": fails, "torch.nn.RNN": lambda: lambda: None}

    monkeypatch.setattr(speed, "contenders", made)
    speed.measure_size(part, "vanilla", (8, 4, 20))
    finals = {run.method: run.final for run in read_rows(part.rows)}
    assert finals["jaxrnn, fused"] == {"failed": "RuntimeError: no kernel image"}
    assert finals["torch.nn.RNN"]["times_torch"] == 1.0


def test_the_copy_task_is_the_committed_one(monkeypatch):
    from experiments.copy_task.config import CopyTaskConfig

    recipe, schedule = parity.copy_task(on_gpu=True)
    config = CopyTaskConfig()
    assert schedule == config.schedule
    expected = config.recipe("qr")
    assert recipe == expected.__class__(**{**vars(expected), "track_every": recipe.track_every})


def test_curves_that_part_are_a_failure(tmp_path, monkeypatch):
    part = process(monkeypatch, tmp_path / "rows")
    right = parity.compare_curves(part)
    assert "failed" not in right
    assert 0 < right["difference"] < right["bound"]
    assert [run.backend for run in read_rows(part.rows)] == ["jax", "torch"]

    from torch_ref import optimizers

    clip = optimizers.clip_by_global_norm
    monkeypatch.setattr(
        "torch_ref.training.clip_by_global_norm",
        lambda gradients, norm, limit: clip(gradients, norm, 0.9 * limit),
    )
    assert "differ by" in parity.compare_curves(part)["failed"]


def test_gradients_without_tf32_keep_their_bound(tmp_path, monkeypatch):
    final = parity.compare_with_tf32(process(monkeypatch, tmp_path / "rows"))
    # A CPU has no TF32, so that both are the same there.
    assert final["difference"] == final["without_tf32"] < final["bound_without_tf32"]
