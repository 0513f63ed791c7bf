import httpx
import pytest
from starlette.applications import Starlette
from starlette.routing import Route

from acclimate.rollout.api import problems
from acclimate.rollout.api.files import CHUNK_BYTES, requested_range, serve_file
from acclimate.rollout.api.problems import ProblemError
from acclimate.rollout.file_store import FileStore

CONTENT = bytes(range(256)) * 4096  # four chunks


@pytest.fixture(params=["file", "memory"])
def http(request, tmp_path):
    """The same files from a folder and from an object store."""
    if request.param == "file":
        root = tmp_path / "repository"
        (root / "press" / "1").mkdir(parents=True)
        (root / "press" / "1" / "abc.params").write_bytes(CONTENT)
        (tmp_path / "secret").write_text("outside")
        store = FileStore(root.as_uri())
    else:
        import fsspec

        fsspec.filesystem("memory").pipe("/repository/press/1/abc.params", CONTENT)
        store = FileStore("memory://repository")

    async def serve(http_request):
        return await serve_file(http_request, store, http_request.path_params["path"], "no-cache")

    app = Starlette(routes=[Route("/{path:path}", serve)], exception_handlers={ProblemError: problems.answer})
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test")


@pytest.mark.anyio
async def test_a_file_comes_whole_and_is_not_sent_again(http):
    answer = await http.get("/press/1/abc.params")
    assert answer.content == CONTENT
    assert answer.headers["content-length"] == str(len(CONTENT))
    again = await http.get("/press/1/abc.params", headers={"If-None-Match": answer.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")


@pytest.mark.anyio
async def test_a_broken_download_resumes(http):
    tag = (await http.head("/press/1/abc.params")).headers["etag"]
    start = CHUNK_BYTES + 5
    headers = {"Range": f"bytes={start}-", "If-Range": tag}
    rest = await http.get("/press/1/abc.params", headers=headers)
    assert rest.status_code == 206
    assert rest.content == CONTENT[start:]
    assert rest.headers["content-range"] == f"bytes {start}-{len(CONTENT) - 1}/{len(CONTENT)}"


@pytest.mark.anyio
async def test_a_file_that_changed_is_sent_from_the_beginning(http):
    headers = {"Range": "bytes=10-", "If-Range": '"another"'}
    answer = await http.get("/press/1/abc.params", headers=headers)
    assert (answer.status_code, answer.content) == (200, CONTENT)


@pytest.mark.anyio
@pytest.mark.parametrize(
    "path",
    ["/%2e%2e/secret", "/press/..%2f..%2fsecret", "/press", "/press/1/", "/press//1", "/.hidden"],
)
async def test_nothing_but_files_of_the_repository_is_served(http, path):
    answer = await http.get(path)
    assert answer.status_code == 404
    assert b"outside" not in answer.content


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("bytes=0-9", (0, 10, 206)),
        ("bytes=90-", (90, 100, 206)),
        ("bytes=-10", (90, 100, 206)),
        ("bytes=-1000", (0, 100, 206)),
        ("bytes=0-1000", (0, 100, 206)),
        ("bytes=9-0", (0, 100, 200)),
        ("bytes=0-1,5-6", (0, 100, 200)),
        ("lines=0-1", (0, 100, 200)),
        ("bytes=-", (0, 100, 200)),
        ("", (0, 100, 200)),
    ],
)
def test_ranges_read_as_the_rfc_says(header, expected):
    assert requested_range(header, 100) == expected


@pytest.mark.parametrize("header", ["bytes=100-", "bytes=100-200", "bytes=-0"])
def test_a_range_outside_the_file_is_not_satisfiable(header):
    with pytest.raises(ProblemError) as refusal:
        requested_range(header, 100)
    assert refusal.value.status == 416
    assert refusal.value.headers["Content-Range"] == "bytes */100"
