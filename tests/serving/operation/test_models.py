"""Calls of administrators: the list of snapshots, looking at once, going back."""

import shutil

import grpc
import pytest
from google.rpc import error_details_pb2
from grpc_status import rpc_status
from surgecast.v1 import model_pb2 as pb
from surgecast.v1 import model_pb2_grpc

from forecast.snapshot import Pointer
from forecast.snapshot.pointer import next_pointer, write_pointer
from forecast.snapshot.rollback import read_rollbacks
from serving.server import Server, ServerConfig


@pytest.fixture
def models(own_home, publish_to):
    """The service of a server that does not look by itself, on two publications."""
    publish_to(0)
    publish_to(1)
    server = Server(own_home, ServerConfig(port=0))
    server.start()
    with grpc.insecure_channel(server.address) as channel:
        yield model_pb2_grpc.ModelServiceStub(channel)
    server.stop()


def refusal(call, request):
    with pytest.raises(grpc.RpcError) as caught:
        call(request, timeout=10)
    status = rpc_status.from_call(caught.value)
    info = error_details_pb2.ErrorInfo()
    assert status.details[0].Unpack(info)
    return caught.value.code().name, info.metadata["field"], str(status.message)


def test_all_snapshots_are_listed_page_by_page(models, own_home, publish_to):
    waiting = publish_to(2, move=False)
    damaged = publish_to(3, move=False)
    (own_home.snapshots_dir / damaged / "manifest.json").write_text("{")
    reply = models.ListModels(pb.ListModelsRequest())
    assert reply.source == models.GetServingModel(pb.GetServingModelRequest()).source
    whole = reply.models
    assert len(whole) == 3
    assert [model.model_version for model in whole if model.serving] == ["1"]
    assert {model.snapshot_id for model in whole} >= {waiting}
    assert all(model.series_count == 12 and model.bundle_id == "b1" for model in whole)
    first = models.ListModels(pb.ListModelsRequest(page_size=2))
    second = models.ListModels(pb.ListModelsRequest(page_size=2, page_token=first.next_page_token))
    assert [*first.models, *second.models] == list(whole)
    assert second.next_page_token == ""
    assert refusal(models.ListModels, pb.ListModelsRequest(page_token="zzz"))[:2] == (
        "INVALID_ARGUMENT",
        "page_token",
    )


def test_what_serves_is_listed_though_its_folder_is_gone_or_cannot_be_read(models, own_home):
    serving = Pointer.read(own_home).snapshot
    shutil.rmtree(own_home.snapshots_dir)
    listed = models.ListModels(pb.ListModelsRequest()).models
    assert [(model.snapshot_id, model.serving) for model in listed] == [(serving, True)]
    own_home.snapshots_dir.symlink_to(own_home.snapshots_dir)
    code, field, said = refusal(models.ListModels, pb.ListModelsRequest())
    assert (code, field) == ("UNAVAILABLE", "snapshots")
    assert "Too many levels of symbolic links" in said


def test_reload_answers_when_the_pointers_snapshot_serves_or_is_refused(models, own_home, publish_to):
    third = publish_to(2)
    serving = models.Reload(pb.ReloadRequest()).serving
    assert (serving.source.snapshot_id, serving.refused.reason) == (third, "")
    bad = publish_to(3, move=False)
    path = own_home.snapshots_dir / bad / "mean.npy"
    good = path.read_bytes()
    path.write_bytes(good[:-1] + bytes([good[-1] ^ 1]))
    write_pointer(own_home, next_pointer(Pointer.read(own_home), bad))
    serving = models.Reload(pb.ReloadRequest()).serving
    assert serving.source.snapshot_id == third
    assert serving.refused.reason.startswith(f"snapshots/{bad}/mean.npy: ")
    path.write_bytes(good)
    assert models.Reload(pb.ReloadRequest()).serving.source.snapshot_id == bad


def test_rollback_serves_the_former_and_leaves_a_record(models, own_home):
    before = Pointer.read(own_home)
    serving = models.Rollback(pb.RollbackRequest(reason="peaks too low")).serving
    assert serving.source.snapshot_id == before.previous
    assert serving.source.model_version == "0"
    after = Pointer.read(own_home)
    assert (after.snapshot, after.previous) == (before.previous, before.snapshot)
    (record,) = read_rollbacks(own_home)
    assert (record.why, record.former, record.moves) == ("peaks too low", before.snapshot, after.moves)
    assert record.who == "local"
    assert record.reconciled is None
    code, field, said = refusal(models.Rollback, pb.RollbackRequest(reason="again"))
    assert (code, field) == ("INVALID_ARGUMENT", "snapshot_id")
    assert "gone back from: peaks too low" in said


def test_rollback_to_a_named_snapshot(models, own_home, publish_to):
    named = publish_to(2, move=False)
    request = pb.RollbackRequest(snapshot_id=named, reason="the best one")
    assert models.Rollback(request).serving.source.snapshot_id == named
    assert models.GetServingModel(pb.GetServingModelRequest()).source.snapshot_id == named
    assert refusal(models.Rollback, request)[:2] == ("INVALID_ARGUMENT", "snapshot_id")


def test_a_snapshot_that_is_not_there_is_named_and_the_servers_folders_are_not(models, own_home):
    with pytest.raises(grpc.RpcError) as caught:
        models.Rollback(pb.RollbackRequest(reason="r", snapshot_id="nosuch"), timeout=10)
    resource = error_details_pb2.ResourceInfo()
    status = rpc_status.from_call(caught.value)
    assert status.details[1].Unpack(resource)
    assert (resource.resource_type, resource.resource_name) == ("surgecast.v1.Snapshot", "nosuch")
    assert status.message == "snapshot_id: expected a snapshot in snapshots, found 'nosuch'"
    assert str(own_home.root) not in str(status)


@pytest.mark.parametrize(
    ("request_", "code", "field"),
    [
        (pb.RollbackRequest(), "INVALID_ARGUMENT", "reason"),
        (pb.RollbackRequest(reason="  "), "INVALID_ARGUMENT", "reason"),
        (pb.RollbackRequest(reason="a\nb"), "INVALID_ARGUMENT", "reason"),
        (pb.RollbackRequest(reason="x" * 501), "INVALID_ARGUMENT", "reason"),
        (pb.RollbackRequest(reason="r", snapshot_id="2020-01-01-nosuch"), "NOT_FOUND", "snapshot_id"),
        (pb.RollbackRequest(reason="r", snapshot_id="../../etc"), "NOT_FOUND", "snapshot_id"),
        (pb.RollbackRequest(reason="r", snapshot_id="x" * 5_000), "INVALID_ARGUMENT", "snapshot_id"),
    ],
)
def test_rollbacks_that_cannot_be_change_nothing(models, own_home, request_, code, field):
    before = Pointer.read(own_home)
    assert refusal(models.Rollback, request_)[:2] == (code, field)
    assert Pointer.read(own_home) == before
    assert read_rollbacks(own_home) == []


def test_rollback_to_a_damaged_snapshot_changes_nothing(models, own_home):
    before = Pointer.read(own_home)
    path = own_home.snapshots_dir / before.previous / "ranks.npy"
    path.write_bytes(path.read_bytes()[:-1])
    code, field, _said = refusal(models.Rollback, pb.RollbackRequest(reason="r"))
    assert code == "DATA_LOSS"
    assert field == f"snapshots/{before.previous}/ranks.npy"
    assert Pointer.read(own_home) == before


def test_a_home_that_cannot_be_written_to_is_told(models, own_home):
    before = Pointer.read(own_home)
    own_home.rollbacks_file.mkdir()
    code, field, said = refusal(models.Rollback, pb.RollbackRequest(reason="r"))
    assert (code, field) == ("FAILED_PRECONDITION", "home")
    assert "expected a home that can be read and written to" in said
    assert Pointer.read(own_home) == before
