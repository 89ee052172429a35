import pickle

from server.options.log_options import LogOptions


def test_they_reach_another_process() -> None:
    options = LogOptions("debug", "json")
    assert pickle.loads(pickle.dumps(options)) == options
    assert LogOptions("debug").format == "text"
