"""A folder goes up and comes back byte for byte. Usage: transfer.py MODEL MEGABYTES

Clients that know LFS only, today's with Xet disabled and yesterday's, run this alike.
"""

import os
import sys
import tempfile
from pathlib import Path

from huggingface_hub import HfApi, hf_hub_download, snapshot_download

api = HfApi()
model, megabytes = sys.argv[1], int(sys.argv[2])
assert api.whoami()["name"] == model.split("/")[0]
api.create_repo(model, exist_ok=True)

local = Path(tempfile.mkdtemp())
(local / "README.md").write_text("---\nlicense: mit\n---\n# Up and down\n")
(local / "empty.txt").write_text("")
(local / "small.bin").write_bytes(os.urandom(200_000))
(local / "model.safetensors").write_bytes(os.urandom(megabytes * 1_000_000))
api.upload_folder(folder_path=str(local), repo_id=model)
before = api.model_info(model).sha
api.upload_folder(folder_path=str(local), repo_id=model)
assert api.model_info(model).sha == before, "what is there already makes no new revision"

got = Path(snapshot_download(model, local_dir=tempfile.mkdtemp()))
for file in local.iterdir():
    assert (got / file.name).read_bytes() == file.read_bytes(), file
cached = hf_hub_download(model, "model.safetensors")
assert Path(cached).read_bytes() == (local / "model.safetensors").read_bytes()
