import gzip
from pathlib import Path

import pytest

from server.api.page.static_files import FOLDER, TYPES, load_static_files

# Of everything that a browser loads, as the page promises.
MOST_BYTES = 300_000


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "views").mkdir()
    (tmp_path / "index.html").write_text('<script src="page/{release}/main.js"></script><!-- modules -->')
    (tmp_path / "main.js").write_text("import './views/make.js';")
    (tmp_path / "views" / "make.js").write_text("make;")
    return tmp_path


def test_the_document_names_the_folder_of_its_release_and_all_modules(folder: Path) -> None:
    page = load_static_files(folder)
    document = page.index.content.decode()
    assert f'src="page/{page.release}/main.js"' in document
    assert f'<link rel="modulepreload" fetchpriority="low" href="page/{page.release}/views/make.js">' in document
    assert set(page.files) == {"main.js", "views/make.js"}
    assert page.files["main.js"].mime == TYPES[".js"]
    assert gzip.decompress(page.files["main.js"].zipped) == page.files["main.js"].content


def test_styles_come_as_one_file_in_their_order(folder: Path) -> None:
    links = "".join(f'<link rel="stylesheet" href="page/{{release}}/{name}.css">\n' for name in ("style", "a"))
    (folder / "index.html").write_text(f"{links}<!-- modules -->")
    (folder / "a.css").write_text("a { b: c; }\n")
    (folder / "style.css").write_text(":root { d: e; }\n")
    page = load_static_files(folder)
    assert page.files["style.css"].content == b":root { d: e; }\na { b: c; }\n"
    assert "a.css" not in page.files
    document = page.index.content.decode()
    assert document.startswith(
        f'<link rel="stylesheet" href="page/{page.release}/style.css">\n<link rel="modulepreload"'
    )


def test_a_changed_file_makes_another_release(folder: Path) -> None:
    before = load_static_files(folder)
    assert load_static_files(folder) == before
    (folder / "views" / "make.js").write_text("more;")
    assert load_static_files(folder).release != before.release


def test_lines_that_are_comments_are_left_out_and_nothing_else(folder: Path) -> None:
    code = b"\nconst web = 'http://x'; // at the end\nconst half = 4 /* two */ / 2;\n"
    (folder / "main.js").write_bytes(b"// a module\n/**\n * Adds * 1 / 2.\n */\n  // why\n" + code)
    (folder / "style.css").write_bytes(b"/* The look. */\na { b: c; }\n")
    files = load_static_files(folder).files
    assert files["main.js"].content == code
    assert files["style.css"].content == b"a { b: c; }\n"


def test_a_file_of_no_known_kind_is_refused(folder: Path) -> None:
    (folder / "notes.txt").write_text("?")
    with pytest.raises(KeyError, match="txt"):
        load_static_files(folder)


def test_the_page_is_small_and_names_no_address_outside() -> None:
    page = load_static_files()
    assert sum(len(file.content) for file in (page.index, *page.files.values())) < MOST_BYTES
    for path in FOLDER.rglob("*"):
        if path.suffix in (".html", ".css"):
            assert "//" not in path.read_text().replace("http://www.w3.org", ""), path
