"""Today's huggingface_hub, all that people do with a model, over Xet. Usage: hub.py NAMESPACE"""

import os
import sys
import tempfile
from pathlib import Path

from huggingface_hub import (
    CommitOperationAdd,
    CommitOperationCopy,
    CommitOperationDelete,
    HfApi,
    HfFileSystem,
    get_safetensors_metadata,
    hf_hub_download,
    snapshot_download,
)
from huggingface_hub.errors import EntryNotFoundError, HfHubHTTPError, RepositoryNotFoundError

api = HfApi()
namespace = sys.argv[1]
repo = f"{namespace}/tour"


def refuses(error, action):
    try:
        action()
    except error as refusal:
        return str(refusal)
    raise AssertionError(f"no {error.__name__}")


def folder():
    made = Path(tempfile.mkdtemp())
    (made / "README.md").write_text("---\nlicense: llama2\nbase_model: meta-llama/Llama-2-7b-hf\n---\n# A tour\n")
    (made / "config.json").write_text('{"model_type": "llama"}\n')
    (made / "empty.txt").write_text("")
    (made / "sub").mkdir()
    (made / "sub/größe 1.bin").write_bytes(os.urandom(200_000))
    (made / "model.safetensors").write_bytes(os.urandom(12_000_000))
    return made


def assert_same(local, got):
    for file in local.rglob("*"):
        if file.is_file():
            assert (Path(got) / file.relative_to(local)).read_bytes() == file.read_bytes(), file


def account():
    assert api.whoami()["name"] == namespace


def create():
    url = api.create_repo(repo)
    assert url.repo_id == repo, url
    assert api.create_repo(repo, exist_ok=True).repo_id == repo
    refuses(HfHubHTTPError, lambda: api.create_repo(repo))
    assert api.repo_exists(repo) and not api.repo_exists(f"{namespace}/nothing")


def push_and_pull():
    local = folder()
    commit = api.upload_folder(folder_path=local, repo_id=repo, commit_message="All of it")
    assert len(commit.oid) == 40, commit
    assert sorted(api.list_repo_files(repo)) == [
        ".gitattributes", "README.md", "config.json", "empty.txt", "model.safetensors", "sub/größe 1.bin",
    ]
    assert_same(local, snapshot_download(repo, local_dir=tempfile.mkdtemp()))
    assert_same(local, snapshot_download(repo))
    return local, commit.oid


def edit(local):
    """A large file that changes in its middle: most chunks are known already."""
    content = bytearray((local / "model.safetensors").read_bytes())
    content[6_000_000:6_000_010] = b"0123456789"
    (local / "model.safetensors").write_bytes(bytes(content))
    send = lambda: api.upload_file(
        path_or_fileobj=local / "model.safetensors", path_in_repo="model.safetensors", repo_id=repo
    )
    first, again = send(), send()
    assert first.oid == again.oid, "the same content makes no new revision"
    assert Path(hf_hub_download(repo, "model.safetensors")).read_bytes() == bytes(content)


def look(first):
    info = api.model_info(repo, files_metadata=True)
    assert info.id == repo and info.sha != first and not info.private
    assert info.card_data.license == "llama2" and "license:llama2" in info.tags, info.tags
    weights = next(file for file in info.siblings if file.rfilename == "model.safetensors")
    assert weights.size == 12_000_000 and len(weights.lfs.sha256) == 64, weights
    assert api.model_info(repo, revision=first).sha == first
    assert repo in [model.id for model in api.list_models(search="tour")]
    assert repo in [model.id for model in api.list_models(author=namespace)]
    assert {path.path for path in api.get_paths_info(repo, ["config.json", "sub"])} == {"config.json", "sub"}
    tree = {entry.path for entry in api.list_repo_tree(repo, recursive=True)}
    assert "sub/größe 1.bin" in tree, tree
    assert api.file_exists(repo, "README.md") and not api.file_exists(repo, "nothing")
    refuses(EntryNotFoundError, lambda: hf_hub_download(repo, "nothing"))
    assert [commit.title for commit in api.list_repo_commits(repo)][-1] == "initial commit"
    assert api.auth_check(repo) is None
    assert list(api.get_repo_discussions(repo)) == []
    names = HfFileSystem().ls(repo, detail=False)
    assert f"{repo}/README.md" in names, names


def references(first):
    api.create_branch(repo, branch="dev/x")
    api.create_tag(repo, tag="v1", tag_message="the first", revision=first)
    refs = api.list_repo_refs(repo)
    assert {branch.name for branch in refs.branches} == {"main", "dev/x"}, refs
    assert [(tag.name, tag.target_commit) for tag in refs.tags] == [("v1", first)], refs
    assert api.revision_exists(repo, "v1") and not api.revision_exists(repo, "v2")
    on_branch = api.upload_file(path_or_fileobj=b"x", path_in_repo="x", repo_id=repo, revision="dev/x")
    assert api.file_exists(repo, "x", revision="dev/x") and not api.file_exists(repo, "x")
    assert api.model_info(repo, revision="dev/x").sha == on_branch.oid
    api.delete_tag(repo, tag="v1")
    api.delete_branch(repo, branch="dev/x")
    assert [branch.name for branch in api.list_repo_refs(repo).branches] == ["main"]


def commits():
    api.delete_file("empty.txt", repo)
    operations = [
        CommitOperationAdd("notes/a.txt", b"one"),
        CommitOperationCopy("config.json", "copy.json"),
        CommitOperationCopy("sub/größe 1.bin", "copy.bin"),
        CommitOperationDelete("sub/", is_folder=True),
    ]
    api.create_commit(repo, operations=operations, commit_message="Several things")
    expected = {".gitattributes", "README.md", "config.json", "copy.bin", "copy.json", "model.safetensors", "notes/a.txt"}
    assert set(api.list_repo_files(repo)) == expected, api.list_repo_files(repo)
    broken = lambda: api.upload_file(
        path_or_fileobj=b"---\nlicense: [\n---\n", path_in_repo="README.md", repo_id=repo
    )
    assert "line" in refuses((ValueError, HfHubHTTPError), broken)
    parent = api.list_repo_commits(repo)[-1].commit_id
    stale = lambda: api.upload_file(path_or_fileobj=b"y", path_in_repo="y", repo_id=repo, parent_commit=parent)
    refuses(HfHubHTTPError, stale)
    api.super_squash_history(repo)
    assert len(api.list_repo_commits(repo)) == 1


def visibility():
    api.update_repo_settings(repo, visibility="private")
    assert api.model_info(repo).private
    nobody = HfApi(token=False)
    refuses(RepositoryNotFoundError, lambda: nobody.model_info(repo))
    refuses(RepositoryNotFoundError, lambda: nobody.hf_hub_download(repo, "README.md", cache_dir=tempfile.mkdtemp()))
    assert repo not in [model.id for model in nobody.list_models()]
    api.update_repo_settings(repo, visibility="public")
    assert nobody.model_info(repo).id == repo


def rename():
    moved = f"{namespace}/Moved"
    api.move_repo(repo, moved)
    assert api.model_info(moved).id == moved
    assert api.model_info(f"{namespace}/moved").id == moved, "names are compared without case"
    assert api.model_info(repo).id == moved, "the former name leads to it"
    api.delete_repo(moved)
    assert not api.repo_exists(moved) and not api.repo_exists(repo)
    refuses(RepositoryNotFoundError, lambda: api.delete_repo(moved))


def weights():
    assert get_safetensors_metadata(f"{namespace}/stories").parameter_count == {"F32": 260_032}


account()
create()
local, first = push_and_pull()
edit(local)
look(first)
references(first)
commits()
visibility()
rename()
weights()
