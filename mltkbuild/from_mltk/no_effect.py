"""Mixins of MLTK's for services that a build doesn't use: specs that name them load, and their settings do nothing."""

from __future__ import annotations

from typing import Any

from mltkbuild.spec.model import Mixin
from mltkbuild.spec.properties import ANY, Property

_HERE = "MLTK's; has no effect, for trainings run on this machine"
_LOCAL = "MLTK's; has no effect, for nothing is sent to a service"


class SshMixin(Mixin):
    """MLTK's settings for a training on another machine; here every training runs on this one."""

    ssh_remote_dir = Property[Any](None, ANY, _HERE)
    ssh_startup_cmds = Property[Any](None, ANY, _HERE)
    ssh_shutdown_cmds = Property[Any](None, ANY, _HERE)
    ssh_upload_files = Property[Any](None, ANY, _HERE)
    ssh_download_files = Property[Any](None, ANY, _HERE)
    ssh_environment = Property[Any](None, ANY, _HERE)
    ssh_create_venv = Property[Any](None, ANY, _HERE)


class WeightsAndBiasesMixin(Mixin):
    """MLTK's settings for Weights & Biases, to which nothing is sent."""

    wandb_is_disabled = Property[Any](False, ANY, _LOCAL)
    wandb_init_kwargs = Property[Any]({}, ANY, _LOCAL)
    wandb_config = Property[Any]({}, ANY, _LOCAL)
    wandb_callback = Property[Any](None, ANY, _LOCAL)
    wandb_model_checkpoint_callback = Property[Any](None, ANY, _LOCAL)
    wandb_session_id = Property[Any](None, ANY, _LOCAL)

    @property
    def wandb_is_initialized(self) -> bool:
        """Never."""
        return False
