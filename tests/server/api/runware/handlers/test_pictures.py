import uuid
from typing import Any

import pytest
from starlette.testclient import TestClient

from tests.fakes import picture
from tests.server.conftest import error_of, post


def upload(reference: str, **changes: Any) -> dict[str, Any]:
    task = {"taskType": "imageUpload", "taskUUID": str(uuid.uuid4()), "image": reference}
    return task | changes


def storage(operation: str, media: str) -> dict[str, Any]:
    return {"taskType": "mediaStorage", "taskUUID": str(uuid.uuid4()), "operation": operation, "media": media}


def test_an_uploaded_image_is_served_as_it_came(client: TestClient, reference: str) -> None:
    task = upload(reference)
    (item,) = post(client, task).json()["data"]
    assert item == {
        "taskType": "imageUpload",
        "taskUUID": task["taskUUID"],
        "imageUUID": item["imageUUID"],
        "imageURL": f"http://box:8000/image/{item['imageUUID']}.png",
    }
    assert client.get(item["imageURL"]).content == picture()


def test_stored_media_can_be_deleted_once(client: TestClient, reference: str) -> None:
    task = storage("upload", reference)
    (item,) = post(client, task).json()["data"]
    assert item == {
        "taskType": "mediaStorage",
        "taskUUID": task["taskUUID"],
        "operation": "upload",
        "mediaUUID": item["mediaUUID"],
        "mediaURL": f"http://box:8000/image/{item['mediaUUID']}.png",
    }
    task = storage("delete", item["mediaUUID"])
    (deleted,) = post(client, task).json()["data"]
    assert deleted == {key: task[key] for key in ("taskType", "taskUUID", "operation")} | {"mediaUUID": task["media"]}
    assert client.get(item["mediaURL"]).status_code == 404
    error = error_of(post(client, storage("delete", item["mediaUUID"])))
    assert (error["code"], error["parameter"]) == ("mediaNotFound", "media")


@pytest.mark.parametrize(("name", "parameter"), [("imageUpload", "image"), ("mediaStorage", "media")])
def test_data_that_is_no_picture_is_refused_by_name(client: TestClient, name: str, parameter: str) -> None:
    task = {"taskType": name, "taskUUID": str(uuid.uuid4()), "operation": "upload", parameter: "bm90IGFuIGltYWdl"}
    if name == "imageUpload":
        del task["operation"]
    error = error_of(post(client, task))
    assert (error["code"], error["parameter"]) == (f"invalid{parameter.capitalize()}", parameter)
