"""Where each step stands: phases, growing batches, streams that go on or begin."""

from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError

from model.batching import sample_rows
from model.course import Course, Place, Segment, course_of, make_course, steps_for, stream_seed
from model.job import Job


def one_phase(steps: int, batch_size: int, ramp: list[tuple[int, int]], seq_len: int = 10) -> Course:
    return make_course([(steps, None)], [0], [seq_len], batch_size, ramp)


def job(**changes) -> Job:
    shape = {"vocab_size": 8, "hidden_size": 8, "n_layers": 1, "n_heads": 2, "n_kv_heads": 2, "intermediate_size": 8}
    content = {
        "objective": "lm",
        "shape": {**shape, "max_seq_len": 16},
        "data": {"train": ["a"], "validation": ["v"], "seq_len": 16},
        "special_tokens": {"bos": 0, "eos": [0], "pad": 1},
        "work": {"folder": "f", "export": "e", "checkpoint_every": 5},
        "optim": {},
        "batch_size": 4,
        "steps": 10,
    }
    return Job.model_validate({**content, **changes})


def test_a_plain_run_is_one_segment():
    course = course_of(job())
    assert course.segments == (Segment(0, 0, 0, 10, 4, 0),)
    assert course.at(7) == Place(phase=0, stream=0, first_sample=28, batch_size=4)
    assert np.array_equal(course.rows(7, 50, seed=3), sample_rows(28, 4, 50, 3))
    for outside in (-1, 10):
        with pytest.raises(ValueError, match="run of 10 steps"):
            course.at(outside)


def test_a_batch_grows_at_the_first_step_after_its_tokens():
    """Rows of 10 tokens: 20 a step until 50 have been seen (3 steps), 40 a step until 150 (3 more), then 80."""
    course = one_phase(10, 2, [(50, 4), (150, 8)])
    assert [course.at(step).batch_size for step in range(10)] == [2, 2, 2, 4, 4, 4, 8, 8, 8, 8]
    assert [course.at(step).first_sample for step in range(10)] == [0, 2, 4, 6, 10, 14, 18, 26, 34, 42]


def test_samples_before_a_step_are_those_of_all_steps_before_it():
    course = make_course([(3, None), (4, 5), (2, None)], [0, 1, 0], [10, 20, 10], 2, [(50, 4)])
    sizes = [course.at(step).batch_size for step in range(9)]
    assert sizes == [2, 2, 2, 5, 5, 5, 5, 4, 4]
    assert [course.samples_before(step) for step in range(10)] == [sum(sizes[:step]) for step in range(10)]


def test_a_ramp_step_that_is_jumped_over_is_left_out():
    course = one_phase(4, 10, [(50, 2), (60, 3), (1000, 9)])
    assert [course.at(step).batch_size for step in range(4)] == [10, 3, 3, 3]


def test_every_sample_comes_once_whatever_the_ramp():
    course = one_phase(40, 3, [(100, 5), (400, 7)])
    seen = [one for step in range(40) for one in range(*_span(course, step))]
    assert seen == list(range(len(seen)))


def _span(course: Course, step: int) -> tuple[int, int]:
    place = course.at(step)
    return place.first_sample, place.first_sample + place.batch_size


@pytest.mark.parametrize("ramp", [[], [(50, 4), (150, 8)]])
@pytest.mark.parametrize(("tokens", "start"), [(1, 0), (50, 0), (51, 0), (500, 0), (200, 40)])
def test_steps_for_tokens_are_the_fewest(ramp: list[tuple[int, int]], tokens: int, start: int):
    steps = steps_for(tokens, 10, 2, ramp, start)
    before = steps_for(start, 10, 2, ramp)

    def learnt(n: int) -> int:
        course = one_phase(n, 2, ramp)
        return sum(course.at(step).batch_size * 10 for step in range(n))

    if before:
        assert learnt(before) == start
    assert learnt(before + steps) >= start + tokens
    assert before + steps == 1 or learnt(before + steps - 1) < start + tokens


def test_phases_with_the_same_rows_go_on_and_others_begin():
    long = {"train": ["a"], "seq_len": 32}
    best = {"train": ["b"], "seq_len": 32}
    course = course_of(
        job(
            steps=12,
            batch_ramp=[{"tokens": 4 * 16 * 2, "batch_size": 6}],
            phases=[
                {"name": "main", "steps": 4},
                {"name": "cooler", "steps": 2, "batch_size": 1},
                {"name": "long", "steps": 3, "data": long},
                {"name": "best", "steps": 3, "data": best, "batch_size": 2},
            ],
        )
    )
    assert [course.at(step).stream for step in range(12)] == [0] * 6 + [1] * 3 + [2] * 3
    assert [course.at(step).batch_size for step in range(12)] == [4, 4, 6, 6, 1, 1, 6, 6, 6, 2, 2, 2]
    assert [course.at(step).first_sample for step in range(12)] == [0, 4, 8, 14, 20, 21, 0, 6, 12, 0, 2, 4]
    assert np.array_equal(course.rows(6, 40, seed=5), sample_rows(0, 6, 40, stream_seed(5, 1)))


def test_streams_have_orders_of_their_own():
    seeds = {stream_seed(seed, stream) for seed in range(20) for stream in range(20)}
    assert len(seeds) == 400
    assert stream_seed(7, 0) == 7


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"phases": [{"name": "a", "steps": 9}]}, "have 9 steps, not 10"),
        ({"batch_ramp": [{"tokens": 9, "batch_size": 2}, {"tokens": 9, "batch_size": 3}]}, "order of their tokens"),
        ({"objective": "sft", "batch_ramp": [{"tokens": 9, "batch_size": 2}]}, "for pretraining"),
        ({"export": "average"}, "go together"),
        ({"export": "best", "data": {"train": ["a"], "seq_len": 16}}, "needs validation data"),
    ],
)
def test_courses_that_cannot_be_run_are_refused(changes: dict, message: str):
    with pytest.raises(ValidationError, match=message):
        job(**changes)


def test_rows_that_ranks_cannot_share_are_refused():
    work = {"folder": Path("f"), "export": Path("e"), "checkpoint_every": 5, "sequence_parallel": 3}
    with pytest.raises(ValidationError, match=r"parallel\.sequence 3 does not divide rows of 16"):
        job(work=work)
    with pytest.raises(ValidationError, match=r"parallel\.sequence 4 does not divide 2 key and value heads"):
        job(work={**work, "sequence_parallel": 4})
