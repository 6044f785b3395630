import time

import pytest
from faults.hostile.images import cases, is_picture_or_refused

from episodes.errors import Mistake


@pytest.mark.filterwarnings("ignore:.* has several frames")
def test_every_hostile_image_is_refused_in_one_sentence_or_read_whole(tmp_path):
    wrong, count = [], 0
    for name, act, verdict in cases(tmp_path):
        count += 1
        begun = time.monotonic()
        try:
            result = act()
        except Mistake as error:
            if verdict not in ("refused", is_picture_or_refused) or not str(error):
                wrong.append((name, f"refused: {error}"))
        except BaseException as error:
            wrong.append((name, f"{type(error).__name__}: {error}"))
        else:
            if verdict == "refused" or (callable(verdict) and not verdict(result)):
                wrong.append((name, f"taken: {result}"))
        if time.monotonic() - begun > 5:
            wrong.append((name, "slow"))
    assert not wrong, "\n".join(map(str, wrong))
    assert count >= 150


@pytest.mark.parametrize("name", ["special-pipe", "special-_dev_zero"])
def test_special_files_are_among_them(tmp_path, name):
    assert name in [case[0] for case in cases(tmp_path)]
