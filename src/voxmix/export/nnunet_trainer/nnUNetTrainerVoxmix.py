"""A trainer of nnU-Net 2.8 or newer whose network is the UNETR around the encoder beside this folder.

Point nnUNet_extTrainer at this folder. nnU-Net's environment needs ``pip install "voxmix[train]"``. Loss, augmentation and sampling are nnU-Net's; the optimizer is one for transformers, AdamW. Transformers have no deep supervision.
"""

from pathlib import Path

import torch
from nnunetv2.training.lr_scheduler.polylr import PolyLRScheduler
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

from voxmix.export.nnunet import network_for_nnunet

ENCODER = Path(__file__).resolve().parent.parent


class nnUNetTrainerVoxmix(nnUNetTrainer):
    """Give the weights by ``-pretrained_weights``, or they stay random."""

    def __init__(self, plans, configuration, fold, dataset_json, device=torch.device("cuda")):  # noqa: B008
        # nnU-Net reads these names from the signature and keeps their values
        super().__init__(plans, configuration, fold, dataset_json, device)
        self.enable_deep_supervision = False
        self.initial_lr, self.weight_decay = 3e-4, 5e-2

    @staticmethod
    def build_network_architecture(
        plans_manager,
        configuration_manager,
        num_input_channels,
        num_output_channels,
        enable_deep_supervision=True,
    ):
        return network_for_nnunet(
            ENCODER,
            channels=num_input_channels,
            classes=num_output_channels,
            patch_size=configuration_manager.patch_size,
        )

    def configure_optimizers(self):
        parameters = self.network.parameters()
        optimizer = torch.optim.AdamW(parameters, self.initial_lr, weight_decay=self.weight_decay)
        return optimizer, PolyLRScheduler(optimizer, self.initial_lr, self.num_epochs)

    def set_deep_supervision_enabled(self, enabled):
        pass
