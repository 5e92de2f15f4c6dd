"""A grid's numbers are those of the arrays that it describes; what does not divide is refused."""

import doctest

import numpy as np
import pytest

import voxmix.grid
from voxmix.errors import InputError
from voxmix.grid import Grid


@pytest.mark.parametrize(
    ("crop", "patch"),
    [((96, 96, 96), (16, 16, 16)), ((12, 8, 6), (4, 2, 3)), ((224, 224), (16, 16)), ((6, 10), (3, 5)), ((4, 4), (4, 4))],
)  # fmt: skip
def test_numbers_are_those_of_an_array_that_is_cut(crop, patch):
    grid = Grid(crop, patch)
    array = np.arange(np.prod(crop)).reshape(crop)
    starts = [range(0, edge, step) for edge, step in zip(crop, patch, strict=True)]
    corners = np.stack(np.meshgrid(*starts, indexing="ij"), axis=-1).reshape(-1, len(crop))
    pieces = [array[tuple(slice(a, a + p) for a, p in zip(corner, patch, strict=True))] for corner in corners]
    assert grid.axes == array.ndim
    assert grid.cells == tuple(len(axis) for axis in starts)
    assert grid.patches == len(pieces)
    assert grid.crop_voxels == array.size == grid.patches * grid.patch_voxels
    assert {piece.size for piece in pieces} == {grid.patch_voxels}
    assert np.array_equal(np.sort(np.concatenate([p.ravel() for p in pieces])), np.arange(array.size))


def test_one_number_stands_for_every_axis():
    assert Grid.of(96, 16) == Grid((96, 96, 96), (16, 16, 16))
    assert Grid.of(224, 16, axes=2) == Grid((224, 224), (16, 16))
    assert Grid.of((32, 64), 16) == Grid((32, 64), (16, 16))
    assert Grid.of(64, (16, 8)) == Grid((64, 64), (16, 8))


@pytest.mark.parametrize(
    ("crop", "patch", "says"),
    [
        (33, 16, "crop must be a multiple of patch, got crop 33 and patch 16"),
        ((32, 30), 16, r"multiple of patch, got crop \[32, 30\] and patch 16"),
        (8, 16, "multiple of patch"),
        (0, 1, "crop must be at least 1 voxel along every axis, got 0"),
        ((4, 4, 4), (2, -2, 2), r"patch must be at least 1 voxel along every axis, got \[2, -2, 2\]"),
        ((4,), 2, "an edge for each of 2 or 3 axes"),
        ((4, 4, 4, 4), 2, "an edge for each of 2 or 3 axes"),
        ((4, 4, 4), (2, 2), "an edge for each of 2 or 3 axes"),
    ],
)
def test_what_is_no_whole_number_of_patches_is_refused(crop, patch, says):
    with pytest.raises(InputError, match=says):
        Grid.of(crop, patch)


def test_the_examples_of_the_docstring_hold():
    assert doctest.testmod(voxmix.grid).failed == 0
