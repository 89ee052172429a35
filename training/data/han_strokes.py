"""Sixty Chinese characters of 13 × 13 cells, as strokes. Drawn for this project. Knows no picture.

A stroke is a line through points, and a point is column and row as letters from `a` to `m`.
"""

from itertools import pairwise

import numpy as np

SIDE = 13
_STROKES = """
一 ag-mg
二 cc-kc ak-mk
三 bb-lb cg-kg al-ml
四 ac-mc-mk-ak-ac ec-ef-dh ic-ih-kh
五 bb-lb gb-dl cf-jf-jl al-ml
六 ga-gc ad-md eg-bm ig-lm
七 af-mf fa-fl-ll-lj
八 ec-eg-am ic-ig-mm
九 ad-jd-jl-ml-mj ea-eg-am
十 af-mf ga-gm
上 ga-gl gf-lf al-ml
下 ab-mb gb-gm gf-kh
中 bc-lc-li-bi-bc ga-gm
左 ac-mc ga-fe-am fh-mh ih-im em-mm
右 ac-mc ga-fe-am fg-lg-lm-fm-fg
大 ae-me ga-ge-dj-am ge-ij-mm
小 ga-gl-el df-bj jf-lj
天 bb-lb af-mf gb-gf-dj-am gf-jj-mm
日 ca-ka-km-cm-ca cg-kg
月 da-ka-km-im da-di-bm de-ke dh-kh
水 ga-gl-el ae-ee-bk kc-hf he-mk
火 ga-gg-bm gg-mm bd-cg kd-jg
山 ga-gl ae-al-ml-me
石 ab-mb fb-ef-aj eg-lg-lm-em-eg
田 ab-mb-ml-al-ab gb-gl ag-mg
土 cf-kf ga-gl al-ml
木 ad-md ga-gm gd-ak gd-mk
云 cb-kb ae-me fe-bl-kl ih-mm
雨 ab-mb be-bm be-le-lm-jm gb-gm dg-eh dj-ek ig-jh ij-jk
风 ca-ci-am ca-ka-kk-mm ed-ij id-ej
人 ga-ge-am ge-mm
口 bb-lb-ll-bl-bb
目 ca-ka-km-cm-ca ce-ke ci-ki
手 cb-kb be-le ah-mh gb-gm-em
心 ef-ek-fl-jl-kj bg-ak gc-he lf-mi
东 ac-mc ea-cg-lg he-hm-fm di-bl ki-ml
西 ab-mb be-le-lm-bm-be eb-eg-dj ib-ih-kh
南 ac-mc ga-gf bf-bm bf-lf-lm-jm dg-eh jg-ih di-ji dk-jk gi-gm
北 ea-em ae-ee al-ej ia-il-ml-mj mc-if
开 bb-lb ag-mg db-di-bm ib-im
关 da-ec ja-ic bd-ld ah-mh gd-gh-am gh-mm
出 ga-gm bb-bf-lf-lb ah-am-mm-mh
入 da-gc-ig-mm gd-am
门 ca-dc bd-bm fb-lb-lm-jm
王 bb-lb bg-lg al-ml gb-gl
玉 bb-lb bg-lg al-ml gb-gl ii-kj
工 bb-lb al-ml gb-gl
车 bb-lb fa-cg-kg aj-mj ge-gm
牛 da-be dd-ld ah-mh ga-gm
羊 da-ec ja-ic bd-ld cg-kg aj-mj gd-gm
马 cb-jb-jg db-dg-lg-lm-im aj-ij
米 ag-mg ga-gm cb-ee kb-ie fh-am hh-mm
白 ga-fc cd-kd-km-cm-cd ch-kh
文 ga-gc ad-md jd-gi-am dd-gi-mm
本 ad-md ga-gm gd-aj gd-mj ek-ik
书 cc-jc-jg ag-mg-mk-kk ga-gm ka-mc
电 bc-lc-li-bi-bc bf-lf ga-gl-ml-mj
万 ab-mb fb-fg-bm ff-lf-ll-jl
年 da-be dc-lc dg-kg dg-dj aj-mj hc-hm
元 cb-kb af-mf ef-ei-am if-il-ml-mj
"""
HAN: dict[str, str] = {line[0]: line[2:] for line in _STROKES.split("\n") if line}


def han_grid(character: str) -> np.ndarray:
    """Return the cells of a character, int [13, 13], 1 for ink. Raises `KeyError` for any other."""
    grid = np.zeros((SIDE, SIDE), int)
    for stroke in HAN[character].split():
        points = [(ord(x) - ord("a"), ord(y) - ord("a")) for x, y in stroke.split("-")]
        for (x, y), (to_x, to_y) in pairwise(points):
            steps = max(abs(to_x - x), abs(to_y - y))
            across, down = (np.linspace(start, end, steps + 1) for start, end in ((x, to_x), (y, to_y)))
            grid[np.floor(down + 0.5).astype(int), np.floor(across + 0.5).astype(int)] = 1
    return grid
