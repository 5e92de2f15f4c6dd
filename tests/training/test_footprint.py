from dataclasses import replace

import pytest
import torch

from voxmix.cost.footprint import footprint
from voxmix.encoders.networks import build_model, parameter_count
from voxmix.encoders.patches import token_count, visible_count


@pytest.mark.parametrize("name", ["mae", "unetr"])
def test_what_is_counted_is_what_autograd_keeps_of_real_numbers(model_settings, name):
    settings = replace(model_settings, name=name)
    model = build_model(settings, domains=1, seed=0)
    own = {p.data_ptr() for p in (*model.parameters(), *model.buffers())}

    def kept(rows):
        order = torch.stack([torch.randperm(token_count(settings)) for _ in range(rows)])
        seen, tensors = visible_count(settings), []

        def keep(tensor):
            tensors.append(tensor)
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(keep, lambda t: t):
            predicted, truth = model(
                torch.rand(rows, *(settings.crop,) * 3),
                order[:, :seen],
                order[:, seen:],
                torch.zeros(rows, dtype=int),
            )
            loss = (predicted - truth).square().mean()
            storages = {t.untyped_storage().data_ptr(): t.untyped_storage().nbytes() for t in tensors}
        assert loss.requires_grad
        return sum(size for place, size in storages.items() if place not in own)

    found = footprint(settings)
    assert found.parameters == parameter_count(model)
    assert found.state_bytes == 16 * found.parameters
    crop_bytes = 4 * settings.crop**3
    assert found.draw_bytes == pytest.approx((kept(5) - kept(1)) / 4 + crop_bytes, rel=0.03)


def test_a_draw_of_the_paper_s_unetr_keeps_a_gigabyte_and_of_mae_a_tenth(model_settings):
    from voxmix.run_settings import ModelSettings

    unetr, mae = (footprint(ModelSettings(name=name)) for name in ("unetr", "mae"))
    assert 0.8e9 < unetr.draw_bytes < 1.5e9
    assert mae.draw_bytes < 0.1 * unetr.draw_bytes
