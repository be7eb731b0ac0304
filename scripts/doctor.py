"""Say whether a livekit-agents can leave jobs waiting for ever, why, and what mends it.

Looks at what the Python that runs it would import for a worker whose script lies in the current
folder, or at what it is pointed at: `--script agent.py`, `--python VENV/bin/python`, a wheel, a
folder of packages or source tree, or a file that pins versions (a requirements file, uv.lock,
SCRIPT.py.lock, poetry.lock, pdm.lock, pylock.toml, Pipfile.lock, environment.yml). Nothing is
changed and, without `--live`, nothing of livekit-agents is imported. The state comes from the
files: their sha256 against a table of the releases' own process pools and of what each revision of
the patches makes of each release. The version number alone is never trusted; of a file that pins
versions it is all there is, unless that names a wheel or a folder that is there. What could name
livekit-agents there and was not understood makes it unknown.

exit codes:
  0  patched: each changed file is as the series leaves it; also an older revision
  1  affected, partly (upstream's fix of 1.5.16 does not end every wait), or modified by others
  2  unknown: no livekit-agents, unreadable, not pinned or not understood, a release or revision
     that this file does not know, wrong arguments; patched, but --live could not finish

`--live` starts a pool whose processes cannot initialize, in that environment, and ends it again,
all within 30 seconds, or what `--seconds` says. A job that stalls there makes any state but partly
"affected"; that none stalls proves nothing by itself, and changes nothing.

`--edit` is for the fix that this file prints: FILE, the first 16 digits of its sha256, and JSON,
{"3-5": "new lines"}; "5+" adds after a line, SHA256-OF-0 stands for that of the first WHEEL.

One file, standard library only, Python 3.9 or newer: copy it into a container and run it there.
"""

from __future__ import annotations

import sys

if __name__ == "__main__" and sys.path and not getattr(sys.flags, "safe_path", False):
    del sys.path[
        0
    ]  # the modules beside a copy of this file, or in the current folder, are a user's

import argparse
import asyncio
import base64
import codecs
import contextlib
import csv
import difflib
import hashlib
import importlib
import inspect
import json
import locale
import logging
import multiprocessing
import os
import re
import shlex
import shutil
import signal
import subprocess
import tempfile
import time
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import unquote, urlparse
from urllib.request import url2pathname, urlopen

# Read from standard input (docker exec -i NAME python - < doctor.py), this has no file.
OWN_FILE = Path(globals().get("__file__", "doctor.py")).resolve()
PROJECT = "livekit-agents"
PACKAGE = "livekit/agents/"
POOL = "livekit/agents/ipc/proc_pool.py"
CHANGE_MARK = "# Modified by livekit-agents-procpool"
# The last line of a changed file in a patched wheel.
_MARK = re.compile(rb"# Modified by livekit-agents-procpool, series \S+, revision \d+: [^\n]*\n\Z")
# The first release with upstream's own fix, livekit/agents#5874.
PARTLY_FIXED = "1.5.16"
SCHEMA = 1
"""The version of the JSON that --json prints: another number where a key changes or goes."""
KINDS = (
    "requirements.txt and what else pip reads, such as constraints, requirements.lock or the output"
    " of pip freeze; uv.lock, SCRIPT.py.lock, poetry.lock, pdm.lock, pylock.toml, Pipfile.lock,"
    " environment.yml"
)

# Which releases there are; those whose wheel has tags of its own; the first and the last release of
# each run with one text of proc_pool.py and one series, the series, the text's sha256; what the
# revisions change; and the sha256 of what `sha256sum` prints of some of these (a is the first) once
# a revision is applied: revision, first and last release, which files, the sum.
# -- the pools: written by `nox -s tables` --
_RELEASES = """
1.0.0 1.0.1 1.0.2 1.0.11 1.0.12 1.0.13 1.0.14 1.0.15 1.0.16 1.0.17 1.0.18 1.0.19 1.0.20 1.0.21
1.0.22 1.0.23 1.1.0 1.1.1 1.1.2 1.1.3 1.1.4 1.1.5 1.1.6 1.1.7 1.2.0 1.2.1 1.2.2 1.2.3 1.2.4 1.2.5
1.2.6 1.2.7 1.2.8 1.2.9 1.2.10 1.2.11 1.2.12 1.2.13 1.2.14 1.2.15 1.2.16 1.2.17 1.2.18 1.3.1 1.3.2
1.3.3 1.3.4 1.3.5 1.3.6 1.3.7 1.3.8 1.3.9 1.3.10 1.3.11 1.3.12 1.4.0 1.4.1 1.4.2 1.4.3 1.4.4 1.4.5
1.4.6 1.5.0 1.5.1 1.5.2 1.5.3 1.5.4 1.5.5 1.5.6 1.5.7 1.5.8 1.5.9 1.5.10 1.5.11 1.5.12 1.5.13 1.5.14
1.5.15 1.5.16 1.5.17 1.5.18 1.6.0 1.6.1 1.6.2 1.6.3 1.6.4 1.6.5 1.6.6 1.6.7 1.6.8 1.6.9 1.6.10 1.7.0
1.7.1 1.8.0 1.8.1 1.8.2 1.8.3 1.8.4 1.8.5 1.8.6 1.8.7 1.8.8 1.8.9 2.0.0b1
"""
_WHEELS = """
2.0.0b1 cp310-abi3-manylinux_2_28_x86_64
"""
_POOLS = """
1.0.0   1.0.11  v1.0.0   8f97679e4ac8270b8c63e501ae6e38786a24c3edf6446b584a31f626c1c01a39
1.0.12  1.0.13  v1.0.12  6f43161f1f483776d03a19fb6af0f88b985aa73b2bf7bbba50fdc203b74feb45
1.0.14  1.0.20  v1.0.14  a928f73d8bc9d29656399e2263839234ea88d8ed330dc267d5c104e649f19a8b
1.0.21  1.0.22  v1.0.21  d6073a9d63ea660a8a761ffd0291662e1de567121e1d5902d323e0a4d714adf1
1.0.23  1.2.4   v1.0.23  56506eeac8aae13c59c8abf2b27aa0de95273aed733ca2b06c625d75d4d21a71
1.2.5   1.2.15  v1.2.5   5713d4fb2585e192950851386eb04ef5d67f1101fe5fb1ae05dc7f510ae64aa6
1.2.16  1.2.18  v1.2.16  5713d4fb2585e192950851386eb04ef5d67f1101fe5fb1ae05dc7f510ae64aa6
1.3.1   1.3.12  v1.3.1   091c67e59d105e3ba97718b2d3c8f3965ebd85b31db02f65f49729ab179ed2eb
1.4.0   1.4.1   v1.4.0   da1bb76d0f77e6fa3746d169fb556794fc45c77bda15d77d1daec9d2a5ac0538
1.4.2   1.4.3   v1.4.2   72c20b8265500b93d77cc8df70a4be102ffda71982e1b8c1b6d86a9aa33c7769
1.4.4   1.5.1   v1.4.4   72c20b8265500b93d77cc8df70a4be102ffda71982e1b8c1b6d86a9aa33c7769
1.5.2   1.5.15  v1.4.4   52798e4e9f674840a5ec375f46c6790401b0b437b3467277b6daf40010319c33
1.5.16  1.5.18  v1.5.16  ba8a25cdb785706016db6db95a852b419ab5d700450a1447733c3e09dd449f42
1.6.0   1.6.0   v1.6.0   d75804823b339c8a81c3bce440c9cec7add51182d155e37723cd0392d33fe4a9
1.6.1   1.8.1   v1.6.1   d75804823b339c8a81c3bce440c9cec7add51182d155e37723cd0392d33fe4a9
1.8.2   1.8.2   v1.8.2   1a316c188b22003236d2d17221496afb78f7fb9f61627c3ef28354616829fe4e
1.8.3   1.8.8   v1.8.3   1a316c188b22003236d2d17221496afb78f7fb9f61627c3ef28354616829fe4e
1.8.9   1.8.9   v1.8.9   0681a6ec556e5d92e0ad13de9b1e6579b5cb93feafbae41d43b673ba81952957
2.0.0b1 2.0.0b1 v2.0.0b1 7111c668ae77a18042c452d9f30c7e1980da44ae0d2b0843fffd4299e1469eba
"""
_FILES = """
livekit/agents/ipc/job_proc_executor.py
livekit/agents/ipc/job_thread_executor.py
livekit/agents/ipc/proc_pool.py
livekit/agents/ipc/supervised_proc.py
livekit/agents/utils/aio/duplex_unix.py
livekit/agents/worker.py
"""
_PATCHED = """
1 1.0.0   1.0.11  c      87d171cb99c29598568e4e5c9c388d398fe255c6b8016e2237f57f063e5706aa
1 1.0.12  1.0.22  c      d1e743efd2bb8cef62d7580ca04cbe6d2f85d1609128ada5c78fffcad7594339
1 1.0.23  1.2.4   c      d078bb7e9a48f11476394920076c50831501167083b68de4e0e74c051fae75f1
1 1.2.5   1.2.18  c      02d20bb8420cfdf56b24e1592840974f22177f5b4436f6ea38583d3fa55835de
1 1.3.1   1.3.12  c      c70eeddf11f331aed65b287a44cee6877d0fb1db7154d0d7d32805e3a5e27a10
1 1.4.0   1.5.1   c      b2dd1dd4e6baf4c019b80682435f70bf4012740f593701f5a8a626af84058371
1 1.5.2   1.5.15  c      f9cb8c2ec48d5dac8934852293139e8a84027b329b7c7f1bda8b06512cf7183b
1 1.5.16  1.5.18  c      978cef8d19afb5d086e3e08df0a789b5d5fc4af3879f0debb978f5865138756d
1 1.6.0   1.8.1   c      2ecc2c6aab5cfccf5a37a76098f6d30179c9e753c2979cddab6ef18ea79659fc
1 1.8.2   1.8.9   c      f06ad4373cccd6c64ee1426bda901b80e506f36e1bf43c61c64efd6d9529ecc6
1 2.0.0b1 2.0.0b1 c      6587df572fb7d1c23338ca9644f7f7a4918241205faff7e28371a33bbec9e43a
1 1.0.0   1.0.11  bcdf   decfa38096a50026fe01c8b3becc8025e17d1889badf3145eb49bb0c1e4cc68c
1 1.0.12  1.0.19  bcdf   0fa3d95206ac6dd2be8cbbb34c6169616b9f58c6c2c44098624d236336174667
1 1.0.20  1.0.20  bcdf   4a2892d9ca988a23fef5d61d1068c11fa6d76c3b30753d4cd32c8553c462d170
1 1.0.21  1.0.22  bcdf   a9fa818d7be893aded8d8c5abfcb2e5f8527d55dbb7610e7577ae41aff2bdf7d
1 1.0.23  1.1.4   bcdf   d46eb8cfe77569819d62466621699017888f583cdea75c785e1232f8ee8fbe0a
1 1.1.5   1.1.7   bcdf   ac7e45e9671532db66fef9fbdda745ad9dac7192347d943b7e1b6716b409eabd
1 1.2.0   1.2.1   bcdf   ef18df1ea0705c568de43c6ce35e33b9932241c688fc1e73cf4baebded751052
1 1.2.2   1.2.2   bcdf   32076b01a8315a7a5156236ec80d2c6dda36d29215d43509fab889f1eefcd73c
1 1.2.3   1.2.3   bcdf   0c18801198160339ea6943d3015a95d21459a857fe242ba506bb21157bba25c0
1 1.2.4   1.2.4   bcdf   5688536ba2923ec7c85bdfdeff3ee73adecb0ee61c134cad6a58b4b902c4ec14
1 1.2.5   1.2.5   bcdf   f09a2d0fd62be591a4bbd1b86e07edaf3321e75fda12fcacbf99f3d9dee88c22
1 1.2.6   1.2.14  bcdf   269dfc9c04a2752c136e543fd0eaaf52d1402e8ef3094ba4f1af2f5d524e78cd
1 1.2.15  1.2.15  bcdf   b448012b62dd697cbbca8d1bcefcb8d31cfe39c2bea01b94c79b97cfa06c76f0
1 1.2.16  1.2.18  bcdf   c40bb13cae8cea8f5c5e57ef170eeb9646910caf0a54f44e68bb4d9312cf5b2f
1 1.3.1   1.3.1   bcdf   0e9afcad1130a522e6b9a09e4f2116fa42fe726e15e28490474f8c22dba42983
1 1.3.2   1.3.2   bcdf   bf5abc2917fd5eeb46a10271e2c014bff2662c6af68e5043db9212c00350d35a
1 1.3.3   1.3.3   bcdf   c09fcab10540f9c102106927a4a6a3bafdd83e441bc632944e43c5cac6ad4aa2
1 1.3.4   1.3.4   bcdf   5209a697d574c80db4b77d897c05de20b8f26b19b686b3a30ea5ed719e870aae
1 1.3.5   1.3.5   bcdf   46ca6edcdb23a244a63ee5b6ea4fbf140245462e959569f818d3296a23cb1330
1 1.3.6   1.3.6   bcdf   d5f87fd0fe88a41b0edca00c5dcbb2d7f72d3d9f3256bd8ef9ddc4e285050e84
1 1.3.7   1.3.8   bcdf   a9fc7683fda33f944fb0161a148b054c710944943319e2a94e828041ebfb262f
1 1.3.9   1.3.10  bcdf   1a8e52465a40f177fe41d81414355bd54f6ceaf7af99038128bc57e177010dcc
1 1.3.11  1.3.11  bcdf   f9832dc77e478594d8c5a32a83302092d69128059bc8471fa1644be82ab4900e
1 1.3.12  1.3.12  bcdf   a60fcf0c91f44e27132e9ac35b7fdfcd07e0a8c1de3a938741cf3258e6174c3a
1 1.4.0   1.4.1   bcdf   f725fc1fd0239b550b2df1877b2ee93487555788b6443e75426d8e3ad18751bc
1 1.4.2   1.4.2   bcdf   db9bec243bfff7a82892deff40a848c8b2e21792fd4723e8d215103db90d521f
1 1.4.3   1.4.3   bcdf   c59d6294a124935c3c27d00a56bf4ae775edb7864fd35238c563489719796f56
1 1.4.4   1.4.4   bcdf   8b72d8749b5499b026f59347fa90a2471ab6e27ed979613700516ee57752c3b5
1 1.4.5   1.4.6   bcdf   569d3f93c52c0be6c69b5b593bc6ea10e00c73c7c152840a74a92e3964946063
1 1.5.0   1.5.1   bcdf   c53636424f7495f2fc8ac6ca8e55773af995a556c5c2c896f871be808cae98c2
1 1.5.2   1.5.6   bcdf   197873b7fb4849049b2ec5b27aa958713dbeb4d9f15a5f1b84eec0b948d063f2
1 1.5.7   1.5.12  bcdf   3b7f1d0d5705379147837f0be6c9676d6b5b4e3eb7dee3f4f3137b85df38f500
1 1.5.13  1.5.15  bcdf   91e70cabb3d6ed53b920427dbd36c926fe8448a5cf8434c8c1f5e6322b42d9fc
1 1.5.16  1.5.16  bcdf   89e92b9e82d98a9576aeb8fd03a96f455f97d37e90942015d7928bff9e966203
1 1.5.17  1.5.17  bcdf   4c12e789b5895e19388bcdeb72af785806805657c02609206d5ae0a0fa552e33
1 1.5.18  1.5.18  bcdf   6968cab61cdc411d1e5562847ada2a92760202766711cf3c112485bee9fffb53
1 1.6.0   1.6.0   bcdf   5bd4a88c03773722092595b8f7e315f6e3e24ae0c3cf9ac4b16800d595e1b32f
1 1.6.1   1.6.4   bcdf   ab07d5beca1c649c0349ae2ca3c99aefb023b3069bde57b6fb3e5702f1626740
1 1.6.5   1.6.8   bcdf   93bb98b4dd78753863ae8baa4c3886e9b0383fd1b05f9d4a0379ab456bbd6cd4
1 1.6.9   1.7.1   bcdf   8fc8ed89c40c810809b2ad18e8dabac305433a1b71176f8c9783b63af6be03f7
1 1.8.0   1.8.1   bcdf   6f2a94ac1e065c0ed03d10df21667f70447b01473c597f6cde5b91a1e0bb7681
1 1.8.2   1.8.2   bcdf   14fbbbf3835c4f1746b560ee4f2bdb557c8ad32e2d47e62c0b7b6327c7c3c61b
1 1.8.3   1.8.3   bcdf   89785ba18f8f1247f8adc1466a57d4dae9276fd47588871f0d7135a6184ea6b9
1 1.8.4   1.8.6   bcdf   7413f52f377b12b54f4a69831b4a74a68cb4d8f863c829ba45a3539f15e8418d
1 1.8.7   1.8.8   bcdf   99fbb3152cc2bb40e8e864fa2bf5f1b506057211af658caa3ce85668b5444ae1
1 1.8.9   1.8.9   bcdf   453140fdacf99c0ceba46bd9b84409bf3cb32996ece477b0d86688744da05fb3
1 2.0.0b1 2.0.0b1 bcdf   120dc9ca1c48eb774c616eac269afa29ddfe86a821e722be5fc9b6c325698cfa
2 1.0.0   1.0.11  c      f170688362659897cea54d22ac80268acdcac3d308612f797c89d4eee3ca8ef9
2 1.0.12  1.0.22  c      a93c9b367708f9905e450e010f9a43d2b6a5498322d2602ed2f6abdc01485fb9
2 1.0.23  1.2.4   c      0752344e5aa7d46a4ab1876a89edc14bf32006cc0b1735a2d604b5427d9b00cb
2 1.2.5   1.2.18  c      6ab3bbad279396128d6e3a97ae89f81ca2c75f014e422e758b0dddb4e8d3231d
2 1.3.1   1.3.12  c      c6c764f6d46355946b9a0b552d493a3f91d929758a86f468c9a32d4f5a03b7a1
2 1.4.0   1.5.1   c      3e30cb0a4a85ca79f70e00e7c21df1798adc844303dd403e5f937d22ace4bd9a
2 1.5.2   1.5.15  c      3ae8b076c47619577a56d22aa33c878033963f88dd561d2941310d9c8bb313e7
2 1.5.16  1.5.18  c      3314362d0c30d3ad080127ccd94fc39c6c3787b822b7cdc14ba307ce01aa671e
2 1.6.0   1.8.1   c      98ce8802f0c0f6ba99c98fa79b962326918420ca0afc1f01c63885b31e5635d5
2 1.8.2   1.8.9   c      ac7babb44fbc7a44007f8c6202acb7fc7f3f994045472c9dc091c10ffa25fc08
2 2.0.0b1 2.0.0b1 c      171ce7cd1816697cf2363213ee1b711a3ac4ad003047538a217443866cf0e0c3
2 1.0.0   1.0.11  bcdef  16d218ae201e28146c7749caf7055ccba200406cb3d3ccbad67c8c85a89ea873
2 1.0.12  1.0.19  bcdef  d912b28817385d3de34e7b6c6c2f1fedadca0a729dcceb8d65d28584ae98c4c2
2 1.0.20  1.0.20  bcdef  1041fbd1c0f29ad8fa34acc82d2f2b1f01683a5f2578b7e45274b1ec7cd1090a
2 1.0.21  1.0.22  bcdef  1f32064d0ea6e6621193b5732a3f2ccfec20696afd7b694b913ff8c5ecc75334
2 1.0.23  1.1.4   bcdef  a03abe614b91a2b193617c9eb4534ed89185a8ab4f3c082c45dc29b4c8505fba
2 1.1.5   1.1.7   bcdef  0f6d2f2b9f335a4ff676ba696198c537280d17045d9b77fa5bfe99f837709869
2 1.2.0   1.2.1   bcdef  20e6e5fca28ff12177ea7a10e999749ac9716bf675087f71dd4d43a2d271bda6
2 1.2.2   1.2.2   bcdef  ec2f5ee81b7b0e59cb50719350bb34e73ba57dcb1e10c3c523d70dc38d67d8a4
2 1.2.3   1.2.3   bcdef  d9a56e9257c541d944251d5bcd427ba4cf7dfbca7b15bc8cd599c14eb3793281
2 1.2.4   1.2.4   bcdef  86b5249caae7e8e47e051db8988da80da1dbe3c2fdb627f094336a6170b6c996
2 1.2.5   1.2.5   bcdef  4d3192a37d3dcb27eac49f0d919e5d1db26ce43b9dc2135e881a031ee9d6bf14
2 1.2.6   1.2.14  bcdef  edb930eeaf33d125ef2db1edde68baab6a0fab561a34a54bb697c6857e985793
2 1.2.15  1.2.15  bcdef  0cf87912e1ba31c0e62418ec77967c7f699a00623998fa1e82b531a4b49a2338
2 1.2.16  1.2.18  bcdef  7916affb25f7f983cfc6abe7e1ae1f00c275e5f74e5dfe90f5d63b34f1eef6ff
2 1.3.1   1.3.1   bcdef  57be84f70ec7634a31f79e5b782352c50657a104cf763652a2e3141fa28aa782
2 1.3.2   1.3.2   bcdef  87ecf03573932c70f593ae453b6b91cea9ecc2d423765f5394dcde9348f2883c
2 1.3.3   1.3.3   bcdef  bb2106aee4b65abd6712a238c168058dcd8f419786b43d1725383ebae1fe037f
2 1.3.4   1.3.4   bcdef  e7521debf96c63310682e918f5e6340f1de7d2e9d51366b279aab99d6aedf4c9
2 1.3.5   1.3.5   bcdef  c9adf2f4a78dbf5af914df3195b9664ede15f526d636b6dc784e4fc25c760743
2 1.3.6   1.3.6   bcdef  e0052fe76fea1911896336729492f5d71bcaf39a646f0fc172011d79688b7112
2 1.3.7   1.3.8   bcdef  39df86737cb87f90182cf13401ddaa9207c7a4c06e6935a45b0f3131109ed0e5
2 1.3.9   1.3.10  bcdef  bf4b805d848c72b53d99d7b587ccbd0bf714ab0e177e64d4f47b68bf3549fbd4
2 1.3.11  1.3.11  bcdef  9faf6589c67dca70b18a9b4a3fc470123041af2ef16c7efcc0292e3cbd3953a4
2 1.3.12  1.3.12  bcdef  4490e763a46f11bb6fe37634e1a4ca81cb89a15c8f42ff2d372752341aef25b6
2 1.4.0   1.4.1   bcdef  a0ba8e45be3d8b939a5c403d393d74024e868a39a1ffe580af170fab1b58faec
2 1.4.2   1.4.2   bcdef  5abba3ee60957e092851e7a5dd37c6c155a78fd26070a39016afc52900f6bcf2
2 1.4.3   1.4.3   bcdef  179f4f44148d350b0a4f5edfd2ed166c084b15a7166d0133bb8e4e63ebe709ee
2 1.4.4   1.4.4   bcdef  6621202d7bdb966245b3a3878fd8c9273c1fce0c406633e456658decece5397e
2 1.4.5   1.4.6   bcdef  794f3af4cac3de7d9ac8255d7bcb1679075b55e48830d72a7c6a4345132a7b23
2 1.5.0   1.5.1   bcdef  da871fec39151db65a2c1f79234f63ea990b095e5551ff623a647d0955e886af
2 1.5.2   1.5.6   bcdef  365f21119f343cb7012972b6e8f148e791037087ed4050c7ccbb3f38bd6ab134
2 1.5.7   1.5.12  bcdef  d9c877ad5699255e27d96ce9b2e64e994d5708d3e66c974b8f0413835c1a652d
2 1.5.13  1.5.15  bcdef  24c791772787291dc6e4d2fed04e30f1de3e3fd0b344c86c86e99cc8dfe536c9
2 1.5.16  1.5.16  bcdef  23dbc4567be593b07a4afeec551d8ff33b5c47e424d576033dc9c56f206d6fb7
2 1.5.17  1.5.17  bcdef  76285ce442cf629e89b9607758a06c51288a7a7e1271cb678a221e8486cfd588
2 1.5.18  1.5.18  bcdef  e3ba28f3dd61e9862b868d5c3cde27c05a0ad0e85c9ca5750adeb468a1da02dc
2 1.6.0   1.6.0   bcdef  d80c7554f78f258d9d589985293cb3af0224bddb4214166c67d8d241eae092cb
2 1.6.1   1.6.4   bcdef  f2e202faf86d7085e92310b1d78ae4403168b4e6783686f073c1f180fdfe607a
2 1.6.5   1.6.8   bcdef  3b97c66a9ee9149ebb994cba1678a149e5f82b70c39f09b4180845154a890c8f
2 1.6.9   1.7.1   bcdef  4f68736ccfcabdef4ba0ca20c82b5ca87899b75187b106eb3d05148aabd4c1d1
2 1.8.0   1.8.1   bcdef  a32903f6e063ea826befd199dd3e6bb5a58a785ad95790757808cf8e8fc0d727
2 1.8.2   1.8.2   bcdef  e2721a87c220c865029904032d15dc473b6888829f81733035e68653d74ff0ab
2 1.8.3   1.8.3   bcdef  ed3962541a80b20bd0a7e2c01911e84197bb37d0e2f2964039fd2fc99e4915a6
2 1.8.4   1.8.6   bcdef  0f2f9e008767e4191eda94449f8be9bc95e792e97eeefbf41064dbe0227e1f0d
2 1.8.7   1.8.8   bcdef  3ccb106a4c93565a89b26656196cd4c20f87c17a2f8922783709a6da665f77c9
2 1.8.9   1.8.9   bcdef  dc2114334b77b6cb3272f271542cc045fc033cc07ac34daafb53465314ea8547
2 2.0.0b1 2.0.0b1 bcdef  641c3a102991cd51caaf46b7e2221c757f2911fda43012660e4473594ab3baba
3 1.0.0   1.0.11  c      2a2b5279a001725368a0dd4f52aa89e64095f9de4972deb3ae3fd7de34e3cd94
3 1.0.12  1.0.22  c      0ffb89a706167e5657148262129b0472cf4e090dbe3dca985ba9a633e5c4c301
3 1.0.23  1.2.4   c      490bd35e719e1884d167c1b8d010dc60959d32b300bf2cef7e4cbca65b9d0de4
3 1.2.5   1.2.18  c      ccdce10be372c7ec9fed36f891b585ca4cc3bf85c00d7b8a74898de927722f57
3 1.3.1   1.3.12  c      23f97496ed4ea2fef751a577c37b888401131726020de07b58ef373568849eef
3 1.4.0   1.5.1   c      b342e9da361efbfe486e23ace23a4ec561a23b49c6bcdda984af1c4491434304
3 1.5.2   1.5.15  c      b4ab21a1304ceaa1d583239e8a46f92d1c0d2066bda0f84f7ff7e0e27f9baea7
3 1.5.16  1.5.18  c      86828211c9a46585e4fcf0a8666970eee2b617e0973948f1dd3ec057608ceddf
3 1.6.0   1.8.1   c      018e158b1bbb2b02b020f0d7de7297800dc74961998b44ae84028b1f334edd5f
3 1.8.2   1.8.9   c      442bd16e58bf0bdb7cd3042a892eae0b5c00331aa9339a44abd90b8b50b86a11
3 2.0.0b1 2.0.0b1 c      dc7009fa0dffaf17298e6d08954100f467246db4a707d8bff194ca30df7f4f4f
3 1.0.0   1.0.11  bcdef  df16641d7922d30caaaaebba352fa43a2d13f434ddaabb8ef3c8baf35a039c0c
3 1.0.12  1.0.19  bcdef  d7f11bdd504d2a928b9c18985faa897e584bf83b97269e22afe935473a89f730
3 1.0.20  1.0.20  bcdef  ccf7d661e344ffed82247f3f30258eeaf1c5dfa944f7ffe55a423347978c1260
3 1.0.21  1.0.22  bcdef  841819abd2f57563eb3093ff374a0002b41cb2b90b37aa2c0169070007011d11
3 1.0.23  1.1.4   bcdef  a0c0a65a52ea1415ff600b23d843e2ea7d47990ad0f5cd983a930081eeaa935a
3 1.1.5   1.1.7   bcdef  126f846a9c42d27a014fa365842a0da4d90fedc28b475fd3f765ee53fe0057ef
3 1.2.0   1.2.1   bcdef  8adbfef1b6852945ee7c87a22b7850c58d1c00b1000417433cb9b54c5ac56cf9
3 1.2.2   1.2.2   bcdef  b0a971a9e8db7b4f4a7bb7b38cc040a971a0eeed97faa86835874f8fc8a7fd96
3 1.2.3   1.2.3   bcdef  3f6adc5f4ce93a63fe544d5f454b66e1af0cb151d7540952f5906e0193759b44
3 1.2.4   1.2.4   bcdef  ac46269e8b41d38a4a1d6982a7cb031f9cd8420e986c160e141aa5d8f4cffcb9
3 1.2.5   1.2.5   bcdef  28295351611e9490d2e33239a908a32ac015da0796cf5051a85aad62aba367fa
3 1.2.6   1.2.14  bcdef  38ed066795a18d315a2e6d68ebcc77cf0115041a334240cb45c85fd8822446d7
3 1.2.15  1.2.15  bcdef  b7e3fd923eeb35dc17df5ea9042df7791eea941bdf51dc2cbbb47d5860b217fc
3 1.2.16  1.2.18  bcdef  1c4709a35e5acfd5d3f0d880bde95a713ebfe384ed6a2880b7fba7e68dfaa92e
3 1.3.1   1.3.1   bcdef  184dcdc5182e82ec9a854b9c4a7e343365c1b7f87f7798cd73e784363c3ef7cd
3 1.3.2   1.3.2   bcdef  8e25d8965b41bd33d312391b5d71d856a1f721f81a46abedad54fd352f46f19e
3 1.3.3   1.3.3   bcdef  03709d110cb9968c358ddf3591759f0abdb354ee4b70e99b5897b3a430ed82e3
3 1.3.4   1.3.4   bcdef  eb82999baeeb9e4ff5de27e872e1901310942195401c3e1b97b83169deacd7ee
3 1.3.5   1.3.5   bcdef  2b06b72b6c0f5a853066180e742613abce089136e610d5972486bb2bbb05cd32
3 1.3.6   1.3.6   bcdef  85d62358b83b1bb1579276c3731eba693ba848af7a5e8135823ddd8cb44e56c5
3 1.3.7   1.3.8   bcdef  29e5d58af9fc15952ef962ed51c38be23f15899b195333e4fd7631aba9a534d8
3 1.3.9   1.3.10  bcdef  8790beb687349087c88bec0c564aac9e5227d5d68218e9a95c369cd374925738
3 1.3.11  1.3.11  bcdef  9ecbed4e965f1c50c34b218e0160607bd7210ddc87f803aadb08fd816fba1a33
3 1.3.12  1.3.12  bcdef  ddb8e4c41ae24c407bf28aca6c3e1870732dfd780674068882f7001bbaa7145f
3 1.4.0   1.4.1   bcdef  f2986238ef22d5505151562fac62c8435a8506c81dc28fc0494e2e1c72391afe
3 1.4.2   1.4.2   bcdef  7a65e537dc2ef996f89a6f6bc6d9311782e6da4007470d2d85b94e7c4e04e821
3 1.4.3   1.4.3   bcdef  80b9270e16da65ef52032a1ea0dafd92ac1eb9be167cad587cddb74c2ccb53cc
3 1.4.4   1.4.4   bcdef  fa0ec6937c7436382c1d0b1bbb01a2b8e9f64d726f30572eb3259f161fbf1f73
3 1.4.5   1.4.6   bcdef  f007fad9e5441ea0d34f376d9457700d1ad4b7b2edbb8d3781b62c4177bb7d04
3 1.5.0   1.5.1   bcdef  0ceae4d522d6f3af4a52799e72a353c1e48956e942c3a146c5833bced2cd86ae
3 1.5.2   1.5.6   bcdef  d77b0350589aaabdc225ea72e20962af73b0d61a732179b53d398b0af5df68aa
3 1.5.7   1.5.12  bcdef  4979fb6510d6b106bcf5072aa12b789822d2cd2c21af9eaa4a853a219c5c5354
3 1.5.13  1.5.15  bcdef  c176d2110bbff21799a0ffb63276bc03d274749e5654c421c1d9039159f95a16
3 1.5.16  1.5.16  bcdef  d66fb2e92fe1e4693cfe30f2a7a20b1bd2eb7e87396b1dbb4b7135aba584882b
3 1.5.17  1.5.17  bcdef  eb8158748c15a03503a493e5c428412db9edd7af6ba3057e02149d3099f43dbc
3 1.5.18  1.5.18  bcdef  604cdaeb65374d4be735109a7361e25c94558d289142288666a9ed22acd8bc1a
3 1.6.0   1.6.0   bcdef  cf9194e460f4cd86fd7ed4172c7ec5850e4f03f20908171e7b1abf237ba515f4
3 1.6.1   1.6.4   bcdef  c66701cc4d12101f02251f18cdc2108c7b0f2f73689d59cdfd91d1781a655a9c
3 1.6.5   1.6.8   bcdef  50592d91dafb20dee50aae35c9225e7dd5c8f0dc10cbfdd7ce47d98e4a0e6901
3 1.6.9   1.7.1   bcdef  62badd55c198d878eaca66c5c721a73510f404fb0c77037f3f7c222b0f93a436
3 1.8.0   1.8.1   bcdef  0bd971d867d2afb1c9646d3b5fa7306a4e7721b1a5433b8dcdc2b4774d70c036
3 1.8.2   1.8.2   bcdef  8b48ace19b4792751dae231d3bb8c5b293a31106674ae351181a140d3d38e7e8
3 1.8.3   1.8.3   bcdef  f13134674625ce5c57bbdef489d6065c7681725086722fd48ec68d271b6eddc6
3 1.8.4   1.8.6   bcdef  559e37f56eb3b04001ce0d7353f51d5e319c7832c8c6f9e2026c43f3e2f15415
3 1.8.7   1.8.8   bcdef  39c7020aed509425c4dc99bbf640a398ffb6968d466f564174ce1af8fe331962
3 1.8.9   1.8.9   bcdef  fa8e03a156b7880c31fd296f148406853b961a67eb6c4b97ac08c368837528ba
3 2.0.0b1 2.0.0b1 bcdef  7d3be4c15cbca47897d5ff9e34123559fb0149eaa0acd6ae74a338050bd824b1
4 1.0.0   1.0.11  c      e0739fd25005ccb0b1915fb7d02c68019dce34bc7380f4722154b5e85dc26bd4
4 1.0.12  1.0.22  c      1975cab44a544921dc919080813d611a935f61a42fa5c75a8eeca00a55a13556
4 1.0.23  1.2.4   c      99d86aabd5456cda92fa4c725ef7b4db0070d2473262fdfdc55de42fcabac676
4 1.2.5   1.2.18  c      99ebc08c88175ba23924f20850973d93cc22b799a328c9c2d9772073dd2c7de9
4 1.3.1   1.3.12  c      684e42b854f26f8c8a8145d48238eab4e00ce68ae29ddc54f13d37099f90d655
4 1.4.0   1.5.1   c      4767af742bb4db514b2c5ea5b49ee1769c9eb137d5d1e1e98ce451832ee5fc89
4 1.5.2   1.5.15  c      8252c42b5e8cb82d8dcc8c1fdcb3591039df66da712c3c02974dd15769faf275
4 1.5.16  1.5.18  c      fd3b9c469c9ad5a76d2410cdcddf4f2afe7f022078788efd307eb9aa9a791568
4 1.6.0   1.8.1   c      8ebd3e5134112d84f60c9e24e53f5aaf3fac0872e3173c7c6aac6c49d8523a21
4 1.8.2   1.8.9   c      d099e8be85d78db81e16ca147e5ed48c5d8063ae101bf81efa2747171ad6e251
4 2.0.0b1 2.0.0b1 c      6b579ca2ae59b248414cda06dc35454c3d04dbf74b302461d857f45db92da6b7
4 1.0.0   1.0.11  bcdef  d95a2b01214b6f44fff85453b7dabe3159443cbb993c4670cfcb62c9de715ee7
4 1.0.12  1.0.19  bcdef  1e5648b3bc6d6c5d9f699f8a6c178408de59f8ba1d74dd9cc1110070b5d6edc8
4 1.0.20  1.0.20  bcdef  9eec5cddb0111c477788143490e834274cea61e68aca3a009870f53425c4ca01
4 1.0.21  1.0.22  bcdef  88a97a7842d3cea1975b9257eabb31fe4fbfb9fa496a6163b409190c66821144
4 1.0.23  1.1.4   bcdef  47d474c3d59904720f172ce13429876523b84c2f27a812647e18a47e4e5c6c60
4 1.1.5   1.1.7   bcdef  17d39a8a416bace2f0b1214c61c0b620cb437450519b6f0c7c877de9ac82a85f
4 1.2.0   1.2.1   bcdef  d853c9ad6a3f2ae1b462bb9d877f16042af3f720ea5f0382f271de83c48391c5
4 1.2.2   1.2.2   bcdef  76a4db53e76be1a0db1afade5cfa29f68a1c2ce8110a395db0d08c02f4eb7412
4 1.2.3   1.2.3   bcdef  3d543b5616a2eb99a82c7d63f4741e3984fcec1f99a4f180ff297ce91da601df
4 1.2.4   1.2.4   bcdef  9a88350ab677c4176cbffc56a33c65fb22b5bdcdafeed1124c713eb72149399e
4 1.2.5   1.2.5   bcdef  a3e400314dc426ceb4d13a7e568df2e560f900b583a798c755dedffa68c1e1e9
4 1.2.6   1.2.14  bcdef  66a6cdd22f9c04ef7fc911091876b191565705b7387390c30ad8d5bc06304ff3
4 1.2.15  1.2.15  bcdef  51963f105a7a484d92c26a79ce94a1e0f6500ea3befb2b019dc1250e2db6b6a6
4 1.2.16  1.2.18  bcdef  70f7b5a6dbbec10efdcaa0ef5d627c235041596f061ef864e8238d73b2ba388f
4 1.3.1   1.3.1   bcdef  55e5c597019fd2e2192fc0655a35caf27f8dbb5c8d3fb4cf1f1aa8551c8a5fcf
4 1.3.2   1.3.2   bcdef  28859b2ac7375aa733a3d7dfc25fd4ad009bbbd0e3facc0e4663de6a308a4817
4 1.3.3   1.3.3   bcdef  dce907115d568991b9ef97702c58f51c85adfe8fff7fb67e53f411436ea98edd
4 1.3.4   1.3.4   bcdef  43580380bbf1a80b980c07192881ad6bb1dfd77cd7d0ff6d55c8a4b25ee04026
4 1.3.5   1.3.5   bcdef  48d02a96a262efeb3d03012c080bf688b3da5ec9f726fb5faab28c2b6f046df6
4 1.3.6   1.3.6   bcdef  ec25385af66cf94f152b81e9c4ee0839204d815bc76dc2d7a3465841cba32765
4 1.3.7   1.3.8   bcdef  cc7554daa70f43363dcc38ac0ae5f13382872c6ff25e589376f4b71de966474d
4 1.3.9   1.3.10  bcdef  5753510c00c6164522a17ee4eb07a48e933eebbc3da449910864f66ab9bf097a
4 1.3.11  1.3.11  bcdef  6cf5c9a54d64c4abd735c4474814ecc35ac67acc16e51de41fde59c5b7d42037
4 1.3.12  1.3.12  bcdef  d5935973fd689a791ce9217d906a72306d69db10d0c7ce90062a21bf84930bae
4 1.4.0   1.4.1   bcdef  9c831be07fdb99025d5fd7eea7fd9fe2f3be4449e6e8d0aca4d085dd93001d79
4 1.4.2   1.4.2   bcdef  f6c7149065b5c223f4b3596c0147f6fae41a1d6a417c93281007bebee009ef4a
4 1.4.3   1.4.3   bcdef  eebe771e7dea74a72f7a44cfcfea2ab402a347c06fd7e28fa21ef99f9df1bded
4 1.4.4   1.4.4   bcdef  9eafe511f2eb815198f4a5978bb664bcced45e3628ea6203b36594e52b1f9b97
4 1.4.5   1.4.6   bcdef  6ae920cdabea68c80002f981275bf0b03b50fbbda873d07d5c860a0c7dd5add9
4 1.5.0   1.5.1   bcdef  32cd3b220a4f04d2b4cd4a3f7d1d3fd3238203c6b0cd2b2ace628ec0a997c364
4 1.5.2   1.5.6   bcdef  ae2bd7d7fe2a908063f29bfc6857869d4fcd7c92e2e3b7b3f3dfb63a2547f5e9
4 1.5.7   1.5.12  bcdef  9ae030b9a6686ffd98e90bf58f80791b1e34e5e8888c6ba09b1ab4539705032a
4 1.5.13  1.5.15  bcdef  113fadd066badbeaf38d3c457d4125b24a862169592bdd732bcb7403ef5f888c
4 1.5.16  1.5.16  bcdef  0272451be7886fbf78ccc6eba45c7c47cd2015f13c9483ec29d0354346678ea7
4 1.5.17  1.5.17  bcdef  cbad1fd0a502b8247eeec256f1b19a29617b45bfe78909392d36c7a809bbca1a
4 1.5.18  1.5.18  bcdef  2da6a956409d9ad709b2b8b9b3112e1739241041bef4337a5ede449c41d6b2cc
4 1.6.0   1.6.0   bcdef  d0d5ee850ed91957d7430b406fdd239856de6f655bf5987e83469dfb2401c4dc
4 1.6.1   1.6.4   bcdef  6e643a4e3d12300265ba4696695f7dc9d805e9e88c87583e8e7963948ebae7a8
4 1.6.5   1.6.8   bcdef  1858bae1cad322c3136c8e3dfbb3d4ff92201a7abfd1929fbb2f83392aa60933
4 1.6.9   1.7.1   bcdef  d069513d65f47a358d1f3ced27599886fdcf6abe1fc568c196ff86bae4318176
4 1.8.0   1.8.1   bcdef  35fb298bddbc122e4c1fe12db2be8fe21011e8982e033113ab225ccf06ed9b45
4 1.8.2   1.8.2   bcdef  17e03e1d3d1b102a63903c178d0d63a1e04b8fb8ccd7c85b99fae063abbf38f4
4 1.8.3   1.8.3   bcdef  92a69e8ca77118403643856ca9683080d6b0f9be6975b9a6b2e539cccbdbf48b
4 1.8.4   1.8.6   bcdef  f21fd88c3d828cf11100508073fe83d7c1474f81f3824b8022002fa0bcefccb4
4 1.8.7   1.8.8   bcdef  5f3c823a6b6ec6e0c5c452460a5060d4fe4d91c5b0285ba3c2bdb927f4911950
4 1.8.9   1.8.9   bcdef  9655285f4aa3719c705215eff6370379f80c3c0bdcf60224c120c9612261e329
4 2.0.0b1 2.0.0b1 bcdef  e085431dd4d22b427079351cfede1aaf06802e747c2098727f68c45fe0c6c12e
5 1.0.0   1.0.11  c      cad0c96364c8277d723e22640ff5756ed7697c6125dc95c469f23163ea4301db
5 1.0.12  1.0.22  c      a0d85c5e33a1b011df2975933d9abe415bc699465125081b65084cf1de634dac
5 1.0.23  1.2.4   c      ae183f41598293d5080802443d0ad9fbc24188b9df7aeb1fa84225a60a262460
5 1.2.5   1.2.18  c      4b8170f5d1260dd472d8f8927a9e0668b01d895ed7dd39fe028636c238a7ed96
5 1.3.1   1.3.12  c      b20eb027e99778145ba617e69040028386e36c93b89bfe87f246e676bbd744d1
5 1.4.0   1.5.1   c      58edff06d0f8ea04101210cdce50b4352da10361b49b55e04aba06dae014fe7c
5 1.5.2   1.5.15  c      5962080d6d738ad238deba6486cb6e7f1afc0269165df154e45b415023f66e00
5 1.5.16  1.5.18  c      26dfc2c1b75824bd8e635e7fdc223ac1a68017c6e45b6b1444ac76c26004c72e
5 1.6.0   1.8.1   c      9e08f5ae82639d4a852fcb9ed0952fe9214ea5b8b0203967e070176611509684
5 1.8.2   1.8.9   c      e08ceafd716676e333834c8f5a37dfc05949fae4cc3d6e42da79dcaced4dad90
5 2.0.0b1 2.0.0b1 c      d6286214effc1cb32d14d2ad58520a43fe9ce9fab91625625aa3cb910239f0aa
5 1.0.0   1.0.11  abcdef ffb6da0226e21351cef7740a1eafa1080244ef39613144e20602a8f96c966393
5 1.0.12  1.0.16  abcdef f66a237a92a024f6da458cc7cbb5fdccd462d10a6c1ac95dff8adecfcdb7bf28
5 1.0.17  1.0.19  abcdef 141f6ca45d4c12c69eb7af9c81ecabf567ca4acda50f96ec9e1902e282d23a64
5 1.0.20  1.0.20  abcdef 360a70b2f8590f8036313d3c5f156386c7349572c380525fb0ec78d251e77934
5 1.0.21  1.0.22  abcdef 6ccdd5dbadd6829bf1370286d43541d4e98fd90ef27a71825a121d6fc5c45413
5 1.0.23  1.1.4   abcdef c03841030869b036266c0741d55c218822b1dc54d1f4366d04d8abbe8f1273d3
5 1.1.5   1.1.7   abcdef b5ca2d3a8d75f8af80b6c1cd9fa1baf7d737f3300e019031e24d1a5749d70222
5 1.2.0   1.2.1   abcdef 80d02b755f729f9f33c741fb2e5f3d257c040c916529d24245e7290e97cdebdb
5 1.2.2   1.2.2   abcdef e3f824b142edc48407bffb9220f38c4a2fe89d1e6d92d146ba49b42565b455da
5 1.2.3   1.2.3   abcdef c8d6d5ad620e5c46ec30a07805e76fb486f5a4170d54c178940c07461f03649a
5 1.2.4   1.2.4   abcdef 7a7bcc858cf8358ea621088de85ef1afc5915beeecb4ed823579f5ba04f6404f
5 1.2.5   1.2.5   abcdef 1b7f6a23f6e49b377ac170f1751b36d093d8439bb113ef60011fdb8436a23436
5 1.2.6   1.2.14  abcdef 210ca597e3c1dffeccf5c4d22683cb315c8b36b2d98710472e9f062b2a028252
5 1.2.15  1.2.15  abcdef 88a075a52534d8a50cf8f58499b5c8520291f5097e579577b6224347bb02960e
5 1.2.16  1.2.18  abcdef e69422c2bb4d471a6bc67eccbadd808118a984e9fcf2791ffef5ec9263459b14
5 1.3.1   1.3.1   abcdef ffdf6f9bdd2e79c70120b5138df0b83b9044997ab0f6a8f15d883c4fe3e2b009
5 1.3.2   1.3.2   abcdef b43d1e9fb0077e6fb9584eba6e09ec24ee1eb5846b409a05cddc5e0e8ad89ca1
5 1.3.3   1.3.3   abcdef 0cd10fd267fbf8327e3704c97331fec6a1605c6fe0ff0e5d130776b0cae95ff5
5 1.3.4   1.3.4   abcdef dc814086fa4241fda57fb24116abe4a793bf9f34b32241ea5b99352596f61633
5 1.3.5   1.3.5   abcdef e579be7d76136dae26aaafba29d93f70e25bb25962ff44a6f96b89fc3cf0ee48
5 1.3.6   1.3.6   abcdef 9f04a69652c5f36801a6e90e322aea24ae2508ea51445a8b753cd77b150dfa8d
5 1.3.7   1.3.8   abcdef 374b5c7d883f596e2792489ef42e3c8e44eb1d9ba6f174f7bcef35099a4b0d0e
5 1.3.9   1.3.10  abcdef e2a9ce14f9a25bec80987c0734c91df7f70e96213f311c7e5a6a46ba412c6a12
5 1.3.11  1.3.11  abcdef ff65b10d550d907153b9d3e8553f9c3b5598d2eb1bd9bc08c45c1d7d0e68b30f
5 1.3.12  1.3.12  abcdef 395219800e4d3d68d285ace8974803f53742493c71bfacf07ce2eb28aea2dda5
5 1.4.0   1.4.1   abcdef 6dff5206f5acff323c84f80d5dd23b522c35a4fc06b45ae23b2ba02a02940a24
5 1.4.2   1.4.2   bcdef  9fb686c601f02ea587ef24d1a8141fbef7c858b495ab6516aaf878202b337d42
5 1.4.3   1.4.3   bcdef  1fbe74d869ac0ab0832601274a3842d9a4901ff7591554e437fe6da8aea31c3f
5 1.4.4   1.4.4   bcdef  6f170aa191947f8a579dae917266ab847a3ea61a5326f8792b85db9309ce15a5
5 1.4.5   1.4.6   bcdef  b3faa2e221f3316a5dfcc447f71f96ad39a522b762e6170dac74b1c5fd702167
5 1.5.0   1.5.1   bcdef  d94598e8d3a71ea0da3388ae27185beef94f53710bc8834466e896e9778fbe6f
5 1.5.2   1.5.6   bcdef  b4d1925e74f64b84a5132eb22d12173e89a2e43ed8cf40fbb2ec918cb212aedc
5 1.5.7   1.5.12  bcdef  352d0f30fa3bde4b8a448c117a9b551b33d4959e693c44859362d0bed43dd7a9
5 1.5.13  1.5.15  bcdef  3ebdea92aeacf13617cd6b088b9ce09d9a431ad97b24ff99d37c13ec056439e7
5 1.5.16  1.5.16  bcdef  ad5b72301296b74fa58b63395fc6f5c4eb7d85c76588c1264ab98b3c0125eb29
5 1.5.17  1.5.17  bcdef  7bd972f6117ddcd906ab2a9e8a3ec1933669131f2fcf10fbcbd87600b670d8b8
5 1.5.18  1.5.18  bcdef  594fbcce1c61824367fa3181c5e3c3a143a152f5cb326dbd37385f0c04cc0de9
5 1.6.0   1.6.0   bcdef  4650a1a1b6a49b1b58352e97e3061b7ba7b12d1aba7e8818372cb04cb133566e
5 1.6.1   1.6.4   bcdef  f4db441d6a86a62594a4b21a0191e799dc6763df3513a4c96db0a8898528db1e
5 1.6.5   1.6.8   bcdef  46e298b2690d038c1aadce8350554fa9789432b50b7acc12eb2991d624fc05b7
5 1.6.9   1.7.1   bcdef  ccdcfdc27bef55cc4ddb81e58ef6ff57a17abfae489c37b612807738b2d6b4be
5 1.8.0   1.8.1   bcdef  0513c0f6fc33c01c63b0def485ca8bcddf21e35f43391a4eaed80d0e2bf9bde9
5 1.8.2   1.8.2   bcdef  fa35244697c0f53157533a61c11a246220fa1d9e3b787578057f9f66df03edbb
5 1.8.3   1.8.3   bcdef  b1e04382fca3fbbee4b07474666b8d1f39b33ef8dba3f7b0a3e8cdcd4ae31684
5 1.8.4   1.8.6   bcdef  f11ef72263be2b2ad8c972589fef0ad6792f79b722683a593c18b636d2a7b4d7
5 1.8.7   1.8.8   bcdef  7babc695a57e07c36254895375a4957ef03081997ad814c3b50968c4f3635c3b
5 1.8.9   1.8.9   bcdef  1b54193d07a79576d56c6f4b1947dd7277ed5b9cfc33769fea2e0139225f6f22
5 2.0.0b1 2.0.0b1 bcdef  2d159475bb7d09e10236e2d607334cbe500ac8de923ac99293405ebbe82b452c
"""
# -- end of the pools --


def _started() -> float:
    """Return what time.monotonic() was when this process began: a slow host starts slowly.

    From /proc/self/stat (proc(5)) on Linux; elsewhere, or where that is not true, it is now.
    """
    age = 0.0
    with contextlib.suppress(OSError, ValueError, AttributeError, IndexError):
        ticks = int(Path("/proc/self/stat").read_text("utf-8").rpartition(")")[2].split()[19])
        age = time.clock_gettime(time.CLOCK_BOOTTIME) - ticks / os.sysconf("SC_CLK_TCK")
    return time.monotonic() - (age if 0 < age < 60 else 0)


STARTED = _started()


class Row(NamedTuple):
    """A run of releases with one pristine text of proc_pool.py and one series."""

    releases: tuple[str, ...]
    series: str
    sha256: str


class Sum(NamedTuple):
    """What a revision leaves of a run of releases: the sum (`listing_sha256`) of some files."""

    releases: tuple[str, ...]
    revision: int
    files: tuple[str, ...]
    sha256: str


class Table(NamedTuple):
    """What is known of releases and revisions; `wheels` has the tags that are not py3-none-any."""

    releases: tuple[str, ...]
    wheels: dict[str, str]
    rows: tuple[Row, ...]
    sums: tuple[Sum, ...]


def read_table(releases: str, wheels: str, pools: str, files: str, patched: str) -> Table:
    """Read the five texts above."""
    known, names = tuple(releases.split()), files.split()

    def run(first: str, last: str) -> tuple[str, ...]:
        return known[known.index(first) : known.index(last) + 1]

    rows, sums = [], []
    for line in pools.strip().split("\n"):
        first, last, series, digest = line.split()
        rows.append(Row(run(first, last), series, digest))
    for line in patched.strip().split("\n"):
        revision, first, last, letters, digest = line.split()
        over = tuple(names[ord(letter) - ord("a")] for letter in letters)
        sums.append(Sum(run(first, last), int(revision), over, digest))
    tags = dict(line.split() for line in wheels.split("\n") if line)
    return Table(known, tags, tuple(rows), tuple(sums))


TABLE = read_table(_RELEASES, _WHEELS, _POOLS, _FILES, _PATCHED)


class Unknown(Exception):
    """What cannot be judged. Its text is one clear line: what is wrong, then what to do."""


class State(str, Enum):
    """What becomes of jobs, worst first, with the exit code and the report's first line."""

    AFFECTED = "affected", 1, "AFFECTED: a job can wait for ever"
    PARTLY = "partly", 1, "PARTLY FIXED: a job can still wait for ever"
    MODIFIED = "modified", 1, "MODIFIED BY OTHERS: nothing says that no job waits for ever"
    UNKNOWN = "unknown", 2, "UNKNOWN"
    PATCHED = "patched", 0, "PATCHED"

    exit_code: int
    headline: str

    def __new__(cls, value: str, exit_code: int, headline: str) -> State:
        state = str.__new__(cls, value)
        state._value_, state.exit_code, state.headline = value, exit_code, headline
        return state


@dataclass
class Finding:
    """What was found.

    `why` holds a line or more; `fix` is a shell command, or None where none is needed or none is
    known; `notes` are about the fix, and `writes` names what it writes; `applied` is how it was
    patched, "wheel" or "by hand"; `stale` names .dist-info folders that the files do not belong to.
    """

    state: State
    why: list[str]
    version: str | None = None
    where: str = ""
    series: str | None = None
    revision: int | None = None
    newest_revision: int | None = None
    applied: str | None = None
    fix: str | None = None
    notes: list[str] = field(default_factory=list)
    writes: list[str] = field(default_factory=list)
    live: dict[str, Any] | None = None
    stale: list[str] = field(default_factory=list)


Read = Callable[[str], "bytes | None"]
"""Returns the bytes of a file by its path, as in RECORD, or None if there is no such file."""


# -- versions --------------------------------------------------------------------------------------

_PEP440 = re.compile(
    r"v?(?:(?P<epoch>\d+)!)?(?P<release>\d+(?:\.\d+)*)"
    r"(?:[-_.]?(?P<pre>a|b|c|rc|alpha|beta|pre|preview)[-_.]?(?P<pre_n>\d*))?"
    r"(?P<post>-(?P<post_i>\d+)|[-_.]?(?:post|rev|r)[-_.]?(?P<post_n>\d*))?"
    r"(?P<dev>[-_.]?dev[-_.]?(?P<dev_n>\d*))?"
    r"(?:\+(?P<local>[a-z0-9]+(?:[-_.][a-z0-9]+)*))?",
    re.ASCII | re.IGNORECASE,
)
_PRE = {"alpha": "a", "beta": "b", "c": "rc", "pre": "rc", "preview": "rc"}
Key = tuple[Any, ...]


def version_key(version: str) -> Key | None:
    """Return what orders versions as PEP 440 does, the local version left out; None if it is none.

    Equal for 1.5.11, v1.5.11 and 1.5.11.0.
    """
    found = _PEP440.fullmatch(version.strip())
    if found is None:
        return None
    numbers = tuple(int(n) for n in re.sub(r"(\.0+)+$", "", found["release"]).split("."))
    letter = (found["pre"] or "").lower()
    pre: Key = (1, "", 0)
    if letter:
        pre = (0, _PRE.get(letter, letter), int(found["pre_n"] or 0))
    elif found["dev"] and not found["post"]:
        pre = (-1, "", 0)
    post = int(found["post_i"] or found["post_n"] or 0) if found["post"] else -1
    dev: Key = (0, int(found["dev_n"] or 0)) if found["dev"] else (1, 0)
    return int(found["epoch"] or 0), numbers, pre, post, dev


def base_of(version: str) -> str:
    """Return a version without its local part."""
    return version.strip().partition("+")[0]


def local_of(version: str) -> str:
    """Return the local part of a version as PEP 440 normalizes it, or ""."""
    parts = re.split(r"[-_.]", version.strip().partition("+")[2].lower())
    return ".".join(part.lstrip("0") or "0" if part.isdigit() else part for part in parts)


def revision_of(version: str) -> int | None:
    """Return the revision that a version states, 2 for 1.5.11+procpool.2, or None."""
    found = re.fullmatch(r"procpool\.(\d+)", local_of(version), re.ASCII)
    return int(found[1]) if found else None


def release_of(version: str | None) -> str | None:
    """Return the release of the table that a version is, its local part left out, or None."""
    key = version_key(version or "")
    return next((r for r in TABLE.releases if key and version_key(r) == key), None)


def row_of(version: str | None) -> Row | None:
    """Return the row of the table that a version lies in, or None."""
    release = release_of(version)
    return next((row for row in TABLE.rows if release in row.releases), None)


def revisions_of(release: str | None) -> list[int]:
    """Return the revisions of a release that are known, oldest first."""
    return sorted({each.revision for each in TABLE.sums if release in each.releases})


def newest_of(release: str | None) -> int | None:
    """Return the newest revision of a release, or None."""
    return max(revisions_of(release), default=None)


def _wheel_version(name: str) -> str | None:
    """Return the version in the file name, path or address of a wheel of livekit-agents."""
    last = re.split(r"[/\\]", unquote(name.partition("#")[0].partition("?")[0]))[-1]
    found = re.fullmatch(r"([A-Za-z0-9._]+)-([^-]+)(?:-[^-]+)?-[^-]+-[^-]+-[^-]+\.whl", last)
    return found[2] if found and is_ours(found[1]) else None


# -- the files of an installation ------------------------------------------------------------------


def _sha256(data: bytes) -> str:
    """Return 64 hex digits."""
    return hashlib.sha256(data).hexdigest()


def read_record(read: Read, info: str | None) -> dict[str, str]:
    """Return path -> sha256 in hex of the RECORD in the folder `info`; empty if there is none."""
    data = read(f"{info}/RECORD") if info else None
    found = {}
    with contextlib.suppress(csv.Error):
        for row in csv.reader((data or b"").decode("utf-8", "replace").splitlines()):
            if len(row) > 1 and row[1].startswith("sha256="):
                digest = row[1].partition("=")[2]
                with contextlib.suppress(ValueError):
                    sha = base64.urlsafe_b64decode(digest + "=" * (-len(digest) % 4)).hex()
                    found[row[0]] = sha
    return found


def read_version(read: Read, info: str | None) -> str | None:
    """Return the version that METADATA states, or without one livekit/agents/version.py."""
    for name, pattern in (
        (f"{info}/METADATA", r"^Version: *(\S+)"),
        ("livekit/agents/version.py", r"^__version__ = [\"']([^\"']+)"),
    ):
        found = re.search(pattern, (read(name) or b"").decode("utf-8", "replace"), re.MULTILINE)
        if found:
            return found[1]
    return None


def _listed(names: list[str]) -> str:
    """Return the last parts of up to three paths, and how many more there are."""
    shown = ", ".join(name.rsplit("/", 1)[-1] for name in names[:3])
    return shown + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def _edited(read: Read, record: dict[str, str], names: Iterable[str]) -> list[str]:
    """Return those of `names` that RECORD lists and that are missing or have another sha256."""
    return [n for n in names if n in record and _sha256(read(n) or b"") != record[n]]


def listing_sha256(read: Read, names: Iterable[str]) -> str:
    """Return the sha256 of what `sha256sum` prints of files, each without our mark.

    One that is missing counts as empty.
    """
    text = "".join(f"{_sha256(_MARK.sub(b'', read(n) or b''))}  {n}\n" for n in sorted(names))
    return _sha256(text.encode())


def applied_sums(read: Read) -> list[Sum]:
    """Return the sums of the table that the files have; those over the pool alone, too."""
    found: dict[tuple[str, ...], str] = {}
    for each in TABLE.sums:
        if each.files not in found:
            found[each.files] = listing_sha256(read, each.files)
    return [each for each in TABLE.sums if found[each.files] == each.sha256]


def _patched_names() -> list[str]:
    """Return the files that some revision changes."""
    return sorted({name for each in TABLE.sums for name in each.files})


def _is_applied(sums: list[Sum], release: str | None, revision: int) -> bool:
    """Whether all that a revision changes of a release is there, not the pool alone."""
    wanted = [s for s in TABLE.sums if s.revision == revision and release in s.releases]
    return bool(wanted) and all(each in sums for each in wanted)


def judge_patched(read: Read, info: str, version: str, record: dict[str, str]) -> Finding:
    """Judge what says that it is a patched wheel's: by the table, NOTICE, RECORD and the marks."""
    folder = f"{info}/procpool"
    notice = (read(f"{folder}/NOTICE") or b"").decode("utf-8", "replace")
    stated = re.search(r"with series (\S+), revision (\d+)", notice)
    files = re.findall(
        r"^ +(\S+)\n +upstream[^:\n]*: (.+)\n +in this wheel: ([0-9a-f]{64})$", notice, re.MULTILINE
    )
    if stated is None or POOL not in [name for name, _, _ in files]:
        why = "it says that it is patched, but its procpool/NOTICE is missing or unreadable"
        return Finding(State.MODIFIED, [why])
    series, revision = stated[1], int(stated[2])
    mark = f"{CHANGE_MARK}, series {series}, revision {revision}:".encode()
    names = [name for name, _, _ in files]
    changed = [name for name, _, digest in files if _sha256(read(name) or b"") != digest]
    unmarked = [n for n in names if n.endswith(".py") and mark not in (read(n) or b"")[-200:]]
    listing = (read(f"{folder}/series") or b"").decode("utf-8", "replace").splitlines()
    patches = [line.split("#")[0].strip() for line in listing]
    beside = [f"{folder}/{name}" for name in ["series", *patches] if name]
    missing = [name for name in beside if read(name) is None]
    edited = _edited(read, record, [*names, *beside, f"{folder}/NOTICE", f"{info}/METADATA"])
    row, release = row_of(version), release_of(version)
    problems = []
    if revision_of(version) != revision:
        problems.append(f"the version is {version}, but NOTICE says revision {revision}")
    if changed:
        problems.append(f"not as NOTICE states: {_listed(changed)}")
    if edited:
        problems.append(f"not as RECORD states: {_listed(edited)}")
    if unmarked and not changed:
        problems.append(f"without the mark of revision {revision}: {_listed(unmarked)}")
    if missing or len(beside) < 2:
        problems.append(f"the patches are not in it: {_listed(missing) or 'series is empty'}")
    if row and (POOL, row.sha256) not in [(name, upstream) for name, upstream, _ in files]:
        problems.append(f"NOTICE names a pool that is not the one of {base_of(version)}")
    # an older revision may be of a series that was split since
    if row and series != row.series and revision == newest_of(release):
        problems.append(f"NOTICE names series {series}, but that of {release} is {row.series}")
    known = revision in revisions_of(release)
    if known and not _is_applied(applied_sums(read), release, revision):
        pool = [s for s in TABLE.sums if s.revision == revision and release in s.releases]
        wrong = [s for s in pool if s.files == (POOL,) and listing_sha256(read, [POOL]) != s.sha256]
        what = "its process pool is" if wrong else "the files that the series changes are"
        problems.append(
            f"{what} not what revision {revision} of series {series} makes of {release}"
        )
    if problems:
        return Finding(State.MODIFIED, problems)
    if not known:
        why = f"revision {revision} of {base_of(version)} is none that this doctor.py knows"
        return Finding(State.UNKNOWN, [f"{why}: run the doctor.py that came with the wheel"])
    reasons = [f"all {len(names)} changed files are as the wheel's NOTICE states"]
    if not record:
        reasons.append("there is no RECORD: the other files are not checked")
    newest = newest_of(release)
    return Finding(
        State.PATCHED,
        reasons,
        series=series,
        revision=revision,
        newest_revision=newest,
        applied="wheel",
    )


def judge_by_hand(sums: list[Sum], version: str | None) -> Finding | None:
    """Judge files that a series has changed without a wheel of ours; None if none has.

    `sums` is what `applied_sums` returns.
    """
    release = release_of(version)
    for revision in reversed(revisions_of(release)):
        if _is_applied(sums, release, revision):
            row, newest = row_of(release), newest_of(release)
            series = row.series if row else None
            why = f"each file is as series {series} leaves that of {release}"
            copied = "+procpool" in (version or "")
            how = "a copy of a patched wheel's files" if copied else "applied by hand"
            return Finding(
                State.PATCHED,
                [f"{why}: {how}"],
                series=series,
                revision=revision,
                newest_revision=newest,
                applied="wheel" if copied else "by hand",
            )
    if not sums:
        return None
    whole = [each for each in sums if each.files != (POOL,)]
    if whole:
        why = f"its files are those that a series makes of {whole[0].releases[0]}, but it is"
        return Finding(State.MODIFIED, [f"{why} {version or 'without a version'}"])
    why = "its process pool is as a series leaves it, but other files that the series changes are"
    return Finding(State.MODIFIED, [f"{why} not: the series is applied in part"])


def judge(read: Read, info: str | None) -> Finding:
    """Judge the files of one installation or wheel; `info` is the name of its .dist-info folder."""
    version, record = read_version(read, info), read_record(read, info)
    pool = read(POOL)
    if pool is None:
        why = f"{POOL} is missing: not livekit-agents 1.x, or a broken installation"
        return Finding(State.UNKNOWN, [why], version)
    known = [row for row in TABLE.rows if row.sha256 == _sha256(pool)]
    patched = _patched_names()
    edited = _edited(read, record, patched)
    others = _edited(
        read, record, sorted({n for n in record if n.startswith(PACKAGE)} - {*patched})
    )
    notice = read(f"{info}/procpool/NOTICE") if info else None
    says_patched = "+procpool" in (version or "") or CHANGE_MARK.encode() in pool or notice
    by_hand = judge_by_hand(applied_sums(read), version)
    if known:
        finding = judge_version(known[0].releases[0])
        finding.why[0] = f"its process pool is upstream's own: {finding.why[0]}"
        if says_patched:
            finding.why.append(f"though it says that it is patched (version {version})")
        elif row_of(version) not in known:
            finding.why.append(f"though {version} is not a release with this text of the pool")
        if edited:
            finding.why.append(f"edited after it was installed: {_listed(edited)}")
    elif info and says_patched:
        finding = judge_patched(read, info, version or "", record)
    elif by_hand:
        finding = by_hand
    elif edited:
        why = f"edited after it was installed (RECORD states another sha256): {_listed(edited)}"
        finding = Finding(State.MODIFIED, [why])
    elif release_of(version) is None:
        finding = judge_version(version or "")
    elif not record:
        why = "its process pool is no release's, and there is no RECORD to check it against"
        finding = Finding(State.MODIFIED, [f"{why}: a source tree or an editable install"])
    else:
        why = f"its process pool is neither that of {base_of(version or '')} nor a patched one"
        why += ", though RECORD agrees: built or edited by others"
        finding = Finding(State.MODIFIED, [why])
    if others:
        names = ", ".join(others[:5]) + (f" and {len(others) - 5} more" if len(others) > 5 else "")
        finding.why.append(f"edited after it was installed, none of the pool's files: {names}")
    finding.version = version
    return finding


def judge_version(version: str) -> Finding:
    """Judge a release by its number alone."""
    row, release = row_of(version), release_of(version)
    if row is None or release is None:
        newest = TABLE.releases[-1]
        why = f"{version or 'no version'} is none of the releases that are known, 1.0.0 to {newest}"
        return Finding(State.UNKNOWN, [f"{why}: try --live, or a newer doctor.py"], version)
    revision = revision_of(version)
    if revision is not None and revision not in revisions_of(release):
        why = f"revision {revision} of {release} is none that this doctor.py knows"
        return Finding(State.UNKNOWN, [f"{why}: run the doctor.py that came with it"], version)
    if revision is not None:
        why = "by its version; point the doctor at the wheel or the environment to check the files"
        newest_revision = newest_of(release)
        return Finding(State.PATCHED, [why], version, "", row.series, revision, newest_revision)
    if "+" in version:
        why = f"{version} is a build by others: point the doctor at the wheel or the environment"
        return Finding(State.MODIFIED, [why], version)
    if (version_key(release) or ()) >= (version_key(PARTLY_FIXED) or ()):
        why = (
            "upstream's fix (livekit/agents#5874) ends a job's wait only when all failures of the"
            " processes line up; otherwise the job waits for ever"
        )
        return Finding(State.PARTLY, [why], version)
    why = "when no process can initialize, a job waits for ever (livekit/agents#5868)"
    return Finding(State.AFFECTED, [why], version)


# -- what Python would import ----------------------------------------------------------------------

# Run by the interpreter that is judged, whatever its version: asks its finders, in their order, for
# the module and its packages, and runs none of these. Its arguments are the folder that takes the
# place of the script's, and a JSON list that takes the place of sys.path, or "".
_PROBE = """
import sys
safe = getattr(sys.flags, "safe_path", False)
if not safe:
    del sys.path[0]
import json, os, site, sysconfig, types
stdlib = sysconfig.get_path("stdlib") or ""
sites = list(getattr(site, "getsitepackages", list)())
sites += [sysconfig.get_path("purelib") or "", sysconfig.get_path("platlib") or ""]
folder, given = sys.argv[1:]
if given:
    sys.path[:] = json.loads(given)
elif not safe:
    sys.path.insert(0, folder)
where, origin, names = None, None, []
for name in ("livekit", "livekit.agents", "livekit.agents.ipc", "livekit.agents.ipc.proc_pool"):
    spec, parts = None, None
    for finder in sys.meta_path:
        find = getattr(finder, "find_spec", None)
        try:
            spec = find(name, where) if find else None
        except Exception:  # zipimport compiles what it finds
            archives = [p for p in where or sys.path if os.path.exists(p) or ".zip" in p]
            archives = [p for p in archives if not os.path.isdir(p)] + [""]
            inside = archives[0] + "/" + name.rpartition(".")[2]
            origin, parts = inside + ".py", [inside]
            break
        if spec is not None:
            break
    if spec is None and parts is None:
        break
    names.append(name)
    if spec is not None:
        origin, parts = spec.origin, spec.submodule_search_locations
    if parts is None:
        break
    where = list(parts)
    module = types.ModuleType(name)
    module.__path__ = where
    sys.modules[name] = module
    if "." in name:
        setattr(sys.modules[name.rpartition(".")[0]], name.rpartition(".")[2], module)
print(json.dumps({
    "path": sys.path,
    "safe": bool(safe),
    "names": names,
    "origin": origin,
    "sites": sites,
    "user": (getattr(site, "getusersitepackages", str)() or "") if site.ENABLE_USER_SITE else "",
    "prefix": sys.prefix,
    "managed": sys.prefix == sys.base_prefix
    and os.path.isfile(os.path.join(stdlib, "EXTERNALLY-MANAGED")),
}))
"""


class Place(NamedTuple):
    """Where the livekit-agents that was judged lies, for the fix.

    `kind` is "environment", "user" (its user site), "folder", "zip" or "wheel"; `python` an
    interpreter, of that environment where there is one; `managed` whether it is marked
    EXTERNALLY-MANAGED (PEP 668); `pip` whether it has pip; `prefix` is the environment's folder.
    """

    kind: str
    root: Path
    python: str
    managed: bool = False
    pip: bool = False
    prefix: Path | None = None


def is_ours(name: str) -> bool:
    """Whether a name, in any spelling (PEP 503), is that of livekit-agents."""
    return re.sub(r"[-_.]+", "-", name).lower() == PROJECT


def _folder_reader(folder: Path) -> Read:
    """Return a reader of the files below a folder."""

    def read(name: str) -> bytes | None:
        path = folder / name
        return path.read_bytes() if path.is_file() else None

    return read


@contextlib.contextmanager
def _opened(archive: Path) -> Iterator[zipfile.ZipFile]:
    """Open a zip file; raise `Unknown` if it is damaged."""
    try:
        with zipfile.ZipFile(archive) as opened:
            yield opened
    except (zipfile.BadZipFile, EOFError, NotImplementedError, RuntimeError, zlib.error) as error:
        raise Unknown(f"{archive} is damaged: {error}: build or fetch it again") from None


def _infos(names: Iterable[str]) -> list[str]:
    """Return the .dist-info folders of livekit-agents among the names of files."""
    tops = {name.split("/")[0] for name in names}
    return sorted(t for t in tops if t.endswith(".dist-info") and is_ours(t.split("-")[0]))


def _path_files(folder: Path) -> list[Path]:
    """Return the folders that the .pth files (module `site`) of a site-packages folder name."""
    lines = [
        line.strip()
        for file in sorted(folder.glob("*.pth"))
        for line in file.read_text("utf-8", "replace").splitlines()
    ]
    found = [folder / line for line in lines if line and not line.startswith(("#", "import"))]
    return [path for path in found if path.exists()]


def _editable_source(info: Path) -> list[Path]:
    """Return the source folders of an editable install (PEP 610, direct_url.json)."""
    file = info / "direct_url.json"
    try:
        data = json.loads(file.read_text("utf-8")) if file.is_file() else {}
        editable = data.get("dir_info", {}).get("editable", False)
        source = Path(unquote(urlparse(data.get("url", "")).path))
    except (ValueError, AttributeError):
        return []
    return [source, source / "src"] if editable else []


def _distinct(folders: Iterable[Path]) -> list[Path]:
    """Return each folder once, in order: lib64 is often a link to lib, and both on sys.path."""
    found: dict[Path, Path] = {}
    for folder in folders:
        found.setdefault(folder.resolve(), folder)
    return list(found.values())


def probe(python: str, folder: Path, paths: list[Path] | None = None) -> dict[str, Any]:
    """Ask an interpreter where it would import the pool from, for a script in `folder`.

    `paths` takes the place of its sys.path, of which nothing is used then. Raises `Unknown` if it
    does not run.
    """
    given = "" if paths is None else json.dumps([str(path) for path in paths])
    options = [] if paths is None else ["-I", "-S"]
    command = [python, *options, "-c", _PROBE, str(folder), given]
    try:
        result = subprocess.run(command, capture_output=True, text=True, timeout=20)
        found: dict[str, Any] = json.loads(result.stdout.splitlines()[-1])
    except (OSError, ValueError, IndexError, subprocess.TimeoutExpired):
        said = "give the interpreter of an environment, such as VENV/bin/python"
        raise Unknown(f"{python} does not run, or is no Python 3: {said}") from None
    return found


def _root_of(origin: str, inside: str = POOL) -> Path | None:
    """Return the folder or zip file (and folder in it) below which a module lies as `inside`."""
    origin = origin.replace(os.sep, "/")
    return Path(origin[: -len(inside) - 1]) if origin.endswith(f"/{inside}") else None


def _archive_of(root: Path) -> Path | None:
    """Return the zip file that a path is or lies in, or None."""
    return next((path for path in (root, *root.parents) if path.is_file()), None)


def _prefix_in(names: Iterable[str]) -> str:
    """Return the folder, "" or such as "python/", that holds the pool among the names of files.

    "" where there is none, or more than one.
    """
    found = [name[: -len(POOL)] for name in names if f"/{name}".endswith(f"/{POOL}")]
    return found[0] if len(found) == 1 else ""


def examine_archive(archive: Path, prefix: str | None = "") -> Finding:
    """Judge the livekit-agents in a zip file, below the folder `prefix`; raise `Unknown` if none.

    A wheel is a zip file. None stands for the folder that holds it, as in a layer for Lambda.
    """
    with _opened(archive) as opened:
        if prefix is None:
            prefix = _prefix_in(opened.namelist()).rstrip("/")
        below = f"{prefix}/" if prefix else ""
        held = {n[len(below) :] for n in opened.namelist() if n.startswith(below)}
        infos = _infos(held)
        if not infos and POOL not in held:
            raise Unknown(f"{archive} holds no livekit-agents")

        def read(name: str) -> bytes | None:
            return opened.read(below + name) if name in held else None

        finding = judge(read, infos[0] if infos else None)
    finding.where = f"{archive}/{prefix}" if prefix else str(archive)
    if len(infos) > 1:
        finding.state, finding.why = State.MODIFIED, [f"it holds several: {', '.join(infos)}"]
    return finding


def examine_wheel(wheel: Path) -> Finding:
    """Judge a wheel file; raise `Unknown` if it is not of livekit-agents."""
    with _opened(wheel) as archive:
        infos = {n.split("/")[0] for n in archive.namelist() if n.endswith(".dist-info/METADATA")}
    if not [info for info in infos if is_ours(info.split("-")[0])]:
        raise Unknown(f"{wheel} is not a wheel of livekit-agents")
    return examine_archive(wheel)


def examine_root(root: Path, infos: list[Path]) -> Finding:
    """Judge the livekit-agents in a folder of packages; `infos` are its .dist-info folders."""
    read = _folder_reader(root)
    here = [info.name for info in infos]
    # where there are several, the files are of one of them
    for info in here:
        if not _edited(read, read_record(read, info), [POOL]):
            break
    else:
        info = here[0] if here else ""
    finding = judge(read, info or None)
    finding.where = str(root)
    if len(here) > 1:
        finding.why.append(f"several are installed in one folder: {', '.join(here)}")
        finding.stale = [str(root / name) for name in here if name != info]
        finding.state = State.MODIFIED if finding.state == State.PATCHED else finding.state
    return finding


def _copies(paths: list[Path], infos: list[Path]) -> list[Path]:
    """Return the folders that hold a pool, in the order of sys.path, then editable sources."""
    sources = [source for info in infos for source in _editable_source(info)]
    return [root for root in _distinct([*paths, *sources]) if (root / POOL).is_file()]


def examine_paths(paths: list[Path], found: dict[str, Any], named: str) -> Finding:
    """Judge what is imported from `paths`, those of sys.path, as `probe` has `found` it."""
    paths = _distinct(paths)
    infos = [
        info
        for path in paths
        if path.is_dir()
        for info in sorted(path.glob("*.dist-info"))
        if is_ours(info.name.split("-")[0])
    ]
    copies = _copies(paths, infos)
    origin, names = str(found["origin"] or ""), found["names"]
    whole = len(names) == 4
    root = _root_of(origin) if whole else None
    if whole and root is None:
        why = f"Python would import {origin}, which is no {POOL.rpartition('/')[2]}"
        finding = Finding(State.UNKNOWN if origin.endswith("c") else State.MODIFIED, [why])
        finding.where = origin
        return finding
    if root is None and names == ["livekit"] and not copies and not infos:
        raise Unknown(f"no livekit-agents found in {named}")
    if root is None and names and (copies or infos) and found["origin"]:
        # a package or module of this name that holds no pool comes first
        why = f"{origin} hides livekit-agents: it cannot be imported from there"
        return Finding(State.UNKNOWN, [why], where=str((copies or [infos[0].parent])[0]))
    if root is None and copies:
        root = copies[0]
    if root is None:
        if not infos:
            raise Unknown(f"no livekit-agents found in {named}")
        root = infos[0].parent
    archive = None if root.is_dir() else _archive_of(root)
    if archive:
        prefix = root.relative_to(archive).as_posix()
        finding = examine_archive(archive, "" if prefix == "." else prefix)
    else:
        here = [info for info in infos if info.parent.resolve() == root.resolve()]
        finding = examine_root(root, here)
    others = [copy for copy in copies if copy.resolve() != root.resolve()]
    others += [path for path in paths if path.is_file() and path != archive and _holds_pool(path)]
    if others:
        finding.why.append(f"another copy, which is not the one imported: {others[0]}")
    return finding


def _holds_pool(archive: Path) -> bool:
    """Whether a file on sys.path is a zip file with a livekit-agents in it.

    Python imports a namespace package, such as livekit, from one only if it lists its folders.
    """
    try:
        with zipfile.ZipFile(archive) as opened:
            return POOL in opened.namelist()
    except (OSError, zipfile.BadZipFile):
        return False


def _has_pip(paths: Iterable[Path]) -> bool:
    """Whether one of the folders holds pip."""
    return any((path / "pip" / "__init__.py").is_file() for path in paths)


def examine_python(python: str, script: Path | None) -> tuple[Finding, Place]:
    """Judge what an interpreter imports for a worker's script, or for one in the current folder.

    Raise `Unknown` if there is no livekit-agents.
    """
    folder = (script.resolve().parent if script else Path.cwd()).absolute()
    found = probe(python, folder)
    paths = [path for path in map(Path, found["path"]) if path.exists()]
    looked = f"the path of {python}"
    finding = examine_paths(paths, found, looked)
    root = Path(finding.where)
    first = not found["safe"] and finding.where and root.resolve() == folder.resolve()
    if first and script:
        finding.why.append(f"it lies beside {script}, where Python looks first")
    elif first:
        why = "it lies in the current folder, where Python looks first for a worker whose script"
        finding.why.append(f"{why} lies there; --script says where another is")
    place = _place(root, paths, python, found)
    return finding, place


def _place(root: Path, paths: list[Path], python: str, found: dict[str, Any]) -> Place:
    """Return where something lies; `found` is what `probe` returned for the `paths`."""
    pip, managed, prefix = _has_pip(paths), bool(found["managed"]), Path(found["prefix"])
    sites = {Path(site).resolve() for site in found["sites"] if site}
    if root.is_file() or not root.exists():
        archive = _archive_of(root)
        return Place("zip", archive or root, python)
    if found["user"] and root.resolve() == Path(found["user"]).resolve():
        return Place("user", root, python, managed, pip, prefix)
    editable = any(
        root.resolve() == source.resolve()
        for site in sites
        if site.is_dir()
        for info in site.glob("*.dist-info")
        if is_ours(info.name.split("-")[0])
        for source in _editable_source(info)
    )
    if root.resolve() in sites or editable:
        return Place("environment", root, python, managed, pip, prefix)
    return Place("folder", root, python)


def _environment_of(folder: Path) -> str | None:
    """Return the interpreter of a site-packages folder, as far as its place tells."""
    prefix = folder.resolve().parent.parent.parent
    for name in (folder.resolve().parent.name, "python3"):
        if folder.name.endswith("-packages") and (prefix / "bin" / name).is_file():
            return str(prefix / "bin" / name)
    return None


def examine_folder(folder: Path) -> tuple[Finding, Place]:
    """Judge the livekit-agents in a folder of packages or a source tree.

    Where it is not in the folder itself, it is looked for where a layer for Lambda, a virtual
    environment or a checkout of upstream's repository has it. Raise `Unknown` if there is none.
    """
    infos = [i for i in sorted(folder.glob("*.dist-info")) if is_ours(i.name.split("-")[0])]
    below = ["python", "python/lib/python3*/site-packages", "src", "livekit-agents"]
    inner = _distinct(f for name in below for f in folder.glob(name) if (f / POOL).is_file())
    if not infos and not (folder / "livekit").exists() and len(inner) == 1:
        return examine_folder(inner[0])
    sources = [source for info in infos for source in _editable_source(info)]
    paths = [path for path in [folder, *_path_files(folder), *sources] if path.exists()]
    finding = examine_paths(paths, probe(sys.executable, folder, paths), str(folder))
    root = Path(finding.where)
    python = _environment_of(folder)
    if root.is_file() or not root.exists():
        return finding, Place("zip", _archive_of(root) or root, sys.executable)
    inside = root.resolve() == folder.resolve() or root in sources
    if python and inside:
        prefix = folder.resolve().parent.parent.parent
        venv = (prefix / "pyvenv.cfg").is_file()
        marked = any((prefix / "lib").glob("python3*/EXTERNALLY-MANAGED"))
        place = Place("environment", root, python, not venv and marked, _has_pip(paths), prefix)
        return finding, place
    return finding, Place("folder", root, sys.executable)


# -- files that pin versions -----------------------------------------------------------------------
#
# `python scripts wheel` reads them with these functions too.


@dataclass
class Pin:
    """What a file says of livekit-agents in one place.

    `version` is the one version that it takes, None if it leaves that open or was not understood:
    `problem` says what then, and `open` tells the first from the second. `text` is the entry, in
    `path`, of lines `first` to `last`, counted from 1, 0 if not known. `marker` is the condition
    under which it holds; `code` the wheel or folder on this machine that is installed.
    """

    version: str | None
    text: str
    path: Path
    first: int = 0
    last: int = 0
    marker: str = ""
    code: Path | None = None
    problem: str = ""
    open: bool = False
    kind: str = "requirements"


_NAME = r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?"
_VARIABLE = re.compile(r"\$\{([A-Z0-9_]+)\}")
_COMMENT = re.compile(r"(^|\s+)#.*$")
_ARCHIVES = (".whl", ".zip", ".tar.gz", ".tgz", ".tar", ".tar.bz2", ".tbz", ".tar.xz", ".txz")


def could_name_it(text: str) -> bool:
    """Whether a text that was not understood could name livekit-agents, or its repository."""
    text = unquote(text).lower()
    return "livekit" in text or bool(_VARIABLE.search(text.upper()))


def decode(data: bytes, path: Path) -> tuple[str, str]:
    """Return the text of a requirements file as pip decodes it, and the encoding's name.

    A byte order mark, else `coding:` in a comment of the first two lines, else UTF-8, else the
    locale's. Raise `Unknown`, which names the file, if it is no text.
    """
    marks = (
        (codecs.BOM_UTF8, "utf-8-sig"),
        (codecs.BOM_UTF32_BE, "utf-32"),
        (codecs.BOM_UTF32_LE, "utf-32"),
        (codecs.BOM_UTF16_BE, "utf-16"),
        (codecs.BOM_UTF16_LE, "utf-16"),
    )
    names = [name for mark, name in marks if data.startswith(mark)][:1]
    for line in data.split(b"\n")[:2] if not names else []:
        found = re.search(rb"coding[:=]\s*([-\w.]+)", line) if line.startswith(b"#") else None
        if found and not names:
            names = [found[1].decode("ascii", "replace")]
    for name in names or ["utf-8", locale.getpreferredencoding(False) or "utf-8"]:
        try:
            text = data.decode(name)
        except LookupError:
            raise Unknown(f"{path} says that it is encoded in {name}, which is unknown") from None
        except (UnicodeError, ValueError):
            continue
        if "\0" in text:
            raise Unknown(f"{path} is no text file, or UTF-16 without a byte order mark")
        return text, name
    tried = names[0] if names else "UTF-8"
    raise Unknown(f"{path} is not a text file in {tried}: save it as UTF-8")


class Requirement(NamedTuple):
    """A requirement (PEP 508): `specifiers` are pairs such as ("==", "1.5.11")."""

    name: str
    extras: tuple[str, ...]
    specifiers: tuple[tuple[str, str], ...]
    url: str
    marker: str


_MARKER_TOKEN = re.compile(
    r"\s*(?:(?P<string>'[^']*'|\"[^\"]*\")|(?P<op>===|~=|==|!=|<=|>=|<|>|\(|\))"
    r"|(?P<word>[A-Za-z_][A-Za-z0-9_.]*))"
)
# fmt: off
_VARIABLES = (
    "python_version", "python_full_version", "os_name", "sys_platform", "platform_release",
    "platform_system", "platform_version", "platform_machine", "platform_python_implementation",
    "implementation_name", "implementation_version", "extra", "extras", "dependency_groups",
    "os.name", "sys.platform", "platform.version", "platform.machine",
    "platform.python_implementation", "python_implementation",
)
# fmt: on


def is_marker(text: str) -> bool:
    """Whether a text is an environment marker (PEP 508)."""
    tokens: list[tuple[str, str]] = []
    place = 0
    while text[place:].strip():
        found = _MARKER_TOKEN.match(text, place)
        if found is None:
            return False
        tokens.append((found.lastgroup or "", found[found.lastgroup or 0]))
        place = found.end()
    tokens.append(("end", ""))

    def value(at: int) -> int:
        kind, token = tokens[at]
        return at + 1 if kind == "string" or (kind == "word" and token in _VARIABLES) else -1

    def atom(at: int) -> int:
        if tokens[at] == ("op", "("):
            at = either(at + 1)
            return at + 1 if at > 0 and tokens[at] == ("op", ")") else -1
        at = value(at)
        if at < 0:
            return -1
        kind, token = tokens[at]
        if token == "not" and tokens[at + 1] == ("word", "in"):
            return value(at + 2)
        if (kind == "op" and token not in "()") or (kind, token) == ("word", "in"):
            return value(at + 1)
        return -1

    def either(at: int) -> int:
        at = atom(at)
        while at > 0 and tokens[at] in (("word", "and"), ("word", "or")):
            at = atom(at + 1)
        return at

    return either(0) == len(tokens) - 1


def parse_requirement(text: str) -> Requirement | None:
    """Return a requirement (PEP 508), or None if the text is none."""
    found = re.match(rf"\s*({_NAME})\s*(?:\[([^\]]*)\])?\s*", text)
    if found is None:
        return None
    extras = tuple(extra.strip() for extra in (found[2] or "").split(",")) if found[2] else ()
    if extras != ("",) and not all(re.fullmatch(_NAME, extra) for extra in extras):
        return None
    rest, url, marker = text[found.end() :], "", ""
    if rest.startswith("@"):
        address = re.fullmatch(r"@\s*(\S+)(?:\s+;\s*(.+?))?\s*", rest)
        if address is None:
            return None
        url, marker, rest = address[1], address[2] or "", ""
    elif ";" in rest:
        rest, _, marker = rest.partition(";")
        if not marker.strip():
            return None
    if marker and not is_marker(marker):
        return None
    rest = rest.strip()
    if rest.startswith("("):
        if not rest.endswith(")"):
            return None
        rest = rest[1:-1].strip()
    specifiers = []
    parts = rest.split(",") if rest else []
    if parts and not parts[-1].strip() and len(parts) > 1:
        parts.pop()
    for part in parts:
        one = re.fullmatch(r"\s*(===|~=|==|!=|<=|>=|<|>)\s*([^\s,;()]+)\s*", part)
        if one is None:
            return None
        operator, version = one[1], one[2]
        star = version.endswith(".*") and operator in ("==", "!=")
        plain = version[:-2] if star else version
        if operator != "===" and version_key(plain) is None:
            return None
        if "+" in version and (star or operator not in ("==", "!=", "===")):
            return None
        specifiers.append((operator, version))
    if found.end() < len(text) and rest and not specifiers:
        return None
    named = tuple(extra for extra in extras if extra)
    return Requirement(found[1], named, tuple(specifiers), url, marker.strip())


def _allows(operator: str, wanted: str, version: str) -> bool:
    """Whether a version matches one specifier (PEP 440), as far as releases need it."""
    have, want = version_key(version), version_key(wanted[:-2] if wanted[-2:] == ".*" else wanted)
    if operator == "===" or have is None or want is None:
        return wanted.lower() == version.lower()
    if wanted.endswith(".*") or operator == "~=":
        length = len(base_of(wanted).split(".")) - 1
        numbers = (*have[1], *[0] * 9)[:length]
        same = have[0] == want[0] and numbers == (*want[1], *[0] * 9)[:length]
        if operator == "~=":
            return same and have >= want
        return same if operator == "==" else not same
    equal = have == want and ("+" not in wanted or local_of(wanted) == local_of(version))
    return {
        "==": equal,
        "!=": not equal,
        "<=": have <= want,
        ">=": have >= want,
        "<": have < want,
        ">": have > want,
    }[operator]


def _pinned(requirement: Requirement) -> tuple[str | None, str]:
    """Return the version that the specifiers pin, and else what is wrong with them."""
    shown = requirement.name + ",".join(o + v for o, v in requirement.specifiers)
    exact = [v for o, v in requirement.specifiers if o in ("==", "===") and not v.endswith(".*")]
    if not exact:
        return None, f"it does not pin {PROJECT}: it says {shown!r}"
    version = max(exact, key=len)
    if version_key(version) is None:
        return None, f"it pins {PROJECT} to {version!r}, which is no version"
    if not all(_allows(o, v, version) for o, v in requirement.specifiers):
        return None, f"no version is {shown!r}"
    return version, ""


def _local(url: str, base: Path) -> Path | None:
    """Return the path that an address or path on this machine names, or None if it is elsewhere."""
    plain = re.split(r"[#?]", url)[0] if "://" in url or url.startswith("file:") else url
    if plain.lower().startswith("file:"):
        parsed = urlparse(plain)
        if parsed.netloc not in ("", "localhost"):
            return None
        return base / url2pathname(parsed.path)
    if re.match(r"[A-Za-z][A-Za-z0-9+.-]+:", plain):
        return None
    return base / plain.partition("#")[0]


def _folder_name(folder: Path) -> bool | None:
    """Whether a folder is a project called livekit-agents; None if that cannot be told."""
    if any((folder / below / POOL).is_file() for below in ("", "src")):
        return True
    for name in ("pyproject.toml", "setup.cfg", "setup.py"):
        file = folder / name
        if file.is_file():
            text = file.read_text("utf-8", "replace")
            found = re.search(r"^\s*name\s*=\s*[\"']?([A-Za-z0-9._-]+)", text, re.MULTILINE)
            if found:
                return is_ours(found[1])
    return None


def _sourced(pin: Pin, name: str, url: str, base: Path) -> Pin | None:
    """Complete the pin of an address or path, whose `name` is given or ""; None if not ours."""
    egg = re.search(r"[#&]egg=([A-Za-z0-9._-]+)", url)
    name = name or (egg[1] if egg else "")
    path, last = _local(url, base), re.split(r"[/\\]", unquote(re.split(r"[#?]", url)[0]))[-1]
    if re.match(r"(git|hg|svn|bzr)\+", url):
        last = ""  # a repository, whatever its address ends in
    archive = last.endswith(_ARCHIVES)
    if archive and not name:
        stem = re.match(r"(.+?)-\d", last)
        name = stem[1] if stem else ""
    folder = path if path and path.is_dir() else None
    if not name and folder:
        ours = _folder_name(folder)
        if ours is not None:
            name = PROJECT if ours else "other"
    if not name and not could_name_it(url) and "agents" not in url.lower():
        return None
    if name and not is_ours(name):
        return None
    if not name:
        pin.problem = f"{pin.text!r} may be {PROJECT}, and nothing says which version"
        return pin
    version = _wheel_version(url)
    source = re.fullmatch(rf"{_NAME}-(\d[^-]*?)\.(?:tar\.gz|zip)", last)
    if last.endswith(".whl"):
        pin.version, pin.code = version, path if path and path.is_file() else None
        if version is None:
            pin.problem = f"{last} is no wheel of {PROJECT}"
    elif source and "+" not in source[1] and version_key(source[1]):
        pin.version = source[1]
    elif folder:
        roots = [folder / below for below in ("", "src") if (folder / below / POOL).is_file()]
        pin.code = roots[0] if roots else None
    if pin.version is None and pin.code is None and not pin.problem:
        pin.problem = f"{PROJECT} comes from {url}: point the doctor at the environment"
    return pin


_INCLUDES = {"-r": "-r", "--requirement": "-r", "-c": "-c", "--constraint": "-c"}
# fmt: off
_WITH_VALUE = (
    "-i", "--index-url", "--pypi-url", "--extra-index-url", "-f", "--find-links", "--no-binary",
    "--only-binary", "--trusted-host", "--use-feature", "--hash", "-C", "--config-settings",
    "--config-setting", "--global-option", "--install-option", "--all-releases", "--only-final",
    "-e", "--editable",
)
# fmt: on
# fmt: off
_ALONE = (
    "--no-index", "--prefer-binary", "--require-hashes", "--no-require-hashes", "--pre",
    "--use-pep517", "--always-unzip", "-Z", "--process-dependency-links", "--no-use-wheel",
    "--use-wheel",
)
# fmt: on


def _options(words: list[str]) -> Iterator[tuple[str, str]]:
    """Yield the options of a line as (name, value), with "" as the name of what is none.

    Long names may be shortened, and short ones be followed by their value at once, as in pip. What
    may be short for an option that includes a file is "?", and the last.
    """
    known = [*_INCLUDES, *_WITH_VALUE, *_ALONE]
    waiting = iter(words)
    for word in waiting:
        name, equal, value = word.partition("=")
        if word.startswith("--"):
            matches = [each for each in known if each.startswith(name)] if len(name) > 2 else []
            if name not in known and len(matches) == 1:
                name = matches[0]
            elif name not in known and any(each in _INCLUDES for each in matches):
                yield "?", word
                return
        elif word.startswith("-") and len(word) > 1:
            name, value = word[:2], word[2:]
            equal = value
        else:
            yield "", word
            continue
        if name in _INCLUDES or name in _WITH_VALUE:
            yield _INCLUDES.get(name, name), value if equal else next(waiting, "")
        elif name in _ALONE:
            yield name, ""
        else:
            yield "", word


def _logical_lines(text: str) -> Iterator[tuple[int, int, str, str]]:
    """Yield (first, last, line, swallowed) as pip joins continuation lines and drops comments.

    A line that is a comment is never continued, and one that has a comment swallows those that it
    is continued by, which other installers read: `swallowed` holds them.
    """
    held: list[str] = []
    swallowed: list[str] = []
    first, commented = 1, False
    lines = text.splitlines()
    for number, line in enumerate(lines, 1):
        comment = re.match(r"\s*#", line)
        first = first if held else number
        if commented and not comment:
            swallowed.append(line)
        if line.endswith("\\") and not comment:
            held.append(line.strip("\\"))
            commented = commented or bool(re.search(r"\s#", line))
            if number < len(lines):
                continue
        else:
            held.append(f" {line}" if comment else line)
        joined = _COMMENT.sub("", "".join(held)).strip()
        yield first, number, joined, "\n".join(swallowed)
        held, swallowed, commented = [], [], False


def _included(value: str, at: Pin, base: Path, seen: frozenset[Path]) -> list[Pin]:
    """Return what an included file pins; one that cannot be read could pin anything."""
    path = _local(value, base)
    if path is None:
        at.problem = (
            f"{at.path}, line {at.first}: {value} is not on this machine: give it as a file"
        )
        return [at]
    path = Path(os.path.normpath(path))
    if path.resolve() in seen:
        return []
    try:
        return _read(path, seen)
    except (OSError, Unknown, ValueError) as error:
        at.problem = str(error) if path.exists() else f"{path}: there is no such file"
        return [at]


def _requirement_line(line: str, pin: Pin, base: Path, seen: frozenset[Path]) -> list[Pin]:
    """Return what one line of a requirements file pins; `pin` says where it stands."""

    def not_understood() -> list[Pin]:
        named = re.match(rf"({_NAME})\s*[\[(=<>!~@;]", line)
        if not could_name_it(line) or (named and "livekit" not in unquote(line).lower()):
            return []
        pin.problem = f"not understood: {line!r}"
        return [pin]

    def expanded(found: re.Match[str]) -> str:
        return os.environ.get(found[1]) or found[0]

    line = _VARIABLE.sub(expanded, line)
    words = line.split(" ")
    start = next((n for n, word in enumerate(words) if word.startswith("-")), len(words))
    text = " ".join(words[:start]).strip()
    try:
        options = list(_options(shlex.split(" ".join(words[start:]))))
    except ValueError:
        return not_understood()
    if any(name == "?" for name, _ in options):
        pin.problem = f"not understood: {line!r}"
        return [pin]
    if not text:
        found: list[Pin] = []
        for name, value in options:
            if name in ("-r", "-c"):
                if _VARIABLE.search(value):
                    pin.problem = f"not understood: {line!r}: the variable is not set here"
                    return [pin]
                found += _included(value, pin, base, seen)
            elif name in ("-e", "--editable"):
                plain = re.sub(r"\[[^\]]*\]$", "", re.split(r"\s;", value)[0].strip())
                direct = parse_requirement(value)
                if direct and direct.url:
                    made = _sourced(pin, direct.name, direct.url, base)
                else:
                    made = _sourced(pin, "", plain, base)
                found += [made] if made else []
            elif not name and could_name_it(value):
                return not_understood()
        return found
    odd = [value for name, value in options if not name]
    if any(could_name_it(value) for value in odd):
        return not_understood()
    requirement = parse_requirement(text)
    if requirement is None or _VARIABLE.search(text):
        plain, _, marker = re.sub(r"\s+;", " ;", text).partition(" ;")
        plain = re.sub(r"(?<=.)\[[^\]]*\]$", "", plain.strip())
        path_like = re.match(r"[./~\\]|[A-Za-z][A-Za-z0-9+.-]*:", plain) or "/" in plain
        if (path_like or plain.endswith(_ARCHIVES)) and " " not in plain.strip():
            pin.marker = marker.strip()
            made = _sourced(pin, "", plain, base)
            return [made] if made else []
        return not_understood()
    if requirement.name.endswith(_ARCHIVES) and not requirement.specifiers and not requirement.url:
        made = _sourced(pin, "", requirement.name, base)
        return [made] if made else []
    if not is_ours(requirement.name):
        return []
    pin.marker = requirement.marker
    if requirement.url:
        made = _sourced(pin, requirement.name, requirement.url, base)
        return [made] if made else []
    pin.version, pin.problem = _pinned(requirement)
    pin.open = pin.version is None and pin.problem.startswith("it does not pin")
    return [pin]


def _read_requirements(path: Path, seen: frozenset[Path]) -> list[Pin]:
    """Return what a requirements file pins, and those that it includes."""
    text, _ = decode(path.read_bytes(), path)
    pins: list[Pin] = []
    for first, last, line, swallowed in _logical_lines(text):
        if could_name_it(swallowed):
            why = (
                "a comment is continued by a line that names it, which installers read differently"
            )
            pins.append(Pin(None, swallowed, path, first, last, problem=f"not understood: {why}"))
        if line:
            pin = Pin(None, line, path, first, last)
            pins += _requirement_line(line, pin, path.parent, seen | {path.resolve()})
    return pins


def _parse_toml(text: str, path: Path) -> dict[str, Any]:
    """Parse TOML with the parser that this Python has: its own, tomli, or that of pip.

    Raise `Unknown` if there is none, or if it is not TOML.
    """
    for name in ("tomllib", "tomli", "pip._vendor.tomli"):
        try:
            module = importlib.import_module(name)
        except ImportError:
            continue
        try:
            parsed: dict[str, Any] = module.loads(text)
        except (ValueError, RecursionError) as error:
            raise Unknown(f"{path} is not TOML: {' '.join(str(error).split())}") from None
        return parsed
    raise Unknown(f"this Python cannot read TOML, so not {path}: run the doctor with Python 3.11+")


def _headers(text: str, count: int) -> list[tuple[int, int]]:
    """Return the first and last line of each of `count` [[package]] tables; empty if not plain."""
    lines = text.splitlines()
    pattern = r"\s*\[\[\s*(?:packages?|\"packages?\"|'packages?')\s*\]\]"
    starts = [number for number, line in enumerate(lines, 1) if re.match(pattern, line)]
    ends = []
    for start in starts:
        end = next((n for n in starts if n > start), len(lines) + 1) - 1
        for number in range(start + 1, end + 1):
            top = re.match(r"\s*\[+\s*[\"']?([A-Za-z0-9_-]+)", lines[number - 1])
            if top and top[1] not in ("package", "packages"):
                end = number - 1
                break
        ends.append(end)
    return list(zip(starts, ends)) if len(starts) == count else []


def _toml_source(pin: Pin, row: dict[str, Any], base: Path) -> None:
    """Complete a pin by where its entry of a lock file says that the package comes from."""
    source = row.get("source", {})
    source = source if isinstance(source, dict) else {"unknown": source}
    places = {"registry", "legacy", "type", "reference", "resolved_reference", "subdirectory"}
    if source.get("type") in ("file", "directory", "url", "git"):
        source = {str(source["type"]): source.get("url")}
    elif source.get("type") == "legacy" or "registry" in source:
        source = {}
    for key in ("vcs", "directory", "archive", "path", "git", "url", "hg", "svn", "bzr"):
        if key in row:
            source = {**source, key: row[key]}
    for key, value in source.items():
        if key in places or key in ("virtual",):
            continue
        if isinstance(value, dict):
            value = value.get("path") or value.get("url")
        text = value if isinstance(value, str) else ""
        if key in ("git", "vcs", "hg", "svn", "bzr") or not text:
            pin.version = None
            pin.problem = f"it comes from {key} {text}: point the doctor at the environment"
            return
        path = _local(text, base)
        wheel = _wheel_version(text)
        if path and path.is_dir():
            roots = [path / below for below in ("", "src") if (path / below / POOL).is_file()]
            pin.version, pin.code = None, roots[0] if roots else None
        elif wheel:
            pin.code = path if path and path.is_file() else None
            stated = pin.version or ""
            if (version_key(wheel), local_of(wheel)) != (version_key(stated), local_of(stated)):
                pin.version, pin.problem = None, f"it locks {pin.version}, but the wheel {text}"
                return
        elif not re.search(r"\.(tar\.gz|zip)$", text) or key in ("directory", "editable"):
            pin.version = None
        if pin.version is None and pin.code is None:
            pin.problem = f"it comes from {text}: point the doctor at the environment"
        return
    wheels = [w for w in row.get("wheels", []) if isinstance(w, dict)] if "wheels" in row else []
    for each in wheels:
        named = each.get("path")
        if isinstance(named, str) and _wheel_version(named) and (base / named).is_file():
            pin.code = base / named


def _by_wheels(pin: Pin, row: dict[str, Any]) -> None:
    """Complete a pin of a pylock.toml, whose version may be left out, by the wheels it names.

    These are what is installed: where none is of the version, the entry is not understood.
    """
    wheels = [w for w in row.get("wheels", []) if isinstance(w, dict)] if "wheels" in row else []
    texts = [str(w.get("path") or w.get("url") or w.get("name") or "") for w in wheels]
    found = {(version_key(v), local_of(v)): v for v in map(_wheel_version, texts) if v}
    stated = pin.version or ""
    if pin.version is None and len(found) == 1:
        [pin.version] = found.values()
    elif found and (version_key(stated), local_of(stated)) not in found:
        pin.version = None
        pin.problem = (
            f"it locks {stated or 'no version'}, but wheels of {', '.join(found.values())}"
        )


def _is_known_lock(data: dict[str, Any], name: str) -> bool:
    """Whether the version of a lock file's format is one that is known."""
    metadata = data.get("metadata")
    metadata = metadata if isinstance(metadata, dict) else {}
    if name == "poetry.lock" and "lock-version" in metadata:
        return str(metadata["lock-version"]).split(".")[0] in ("1", "2")
    if "lock-version" in data:
        return str(data["lock-version"]).split(".")[0] == "1"
    return bool(data.get("version", 1) == 1)


def _read_toml(path: Path, text: str) -> list[Pin]:
    """Return what a lock file in TOML pins: uv.lock, poetry.lock, pdm.lock or pylock.toml."""
    data = _parse_toml(text, path)
    if not _is_known_lock(data, path.name):
        raise Unknown(f"{path} is in a newer format: run a newer doctor.py")
    tables = [(name, data[name]) for name in ("package", "packages") if name in data]
    pins = []
    for name, rows in tables:
        if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
            raise Unknown(f"{path}: {name} is no list of tables: not understood")
        lines = _headers(text, len(rows)) if len(tables) == 1 else []
        for number, row in enumerate(rows):
            called = row.get("name")
            if not isinstance(called, str):
                raise Unknown(f"{path}: entry {number + 1} of {name} has no name: not understood")
            if not is_ours(called):
                continue
            first, last = lines[number] if lines else (0, 0)
            entry = "\n".join(text.splitlines()[first - 1 : last]) if first else ""
            version = row.get("version")
            pin = Pin(None, entry, path, first, last, kind="toml")
            markers = row.get("resolution-markers") or row.get("marker") or row.get("markers") or ""
            if isinstance(markers, list):
                texts = [f"({m})" if len(markers) > 1 else str(m) for m in markers]
                pin.marker = " or ".join(texts)
            else:
                pin.marker = str(markers)
            if isinstance(version, str) and version_key(version):
                pin.version = version
            elif version is not None:
                pin.problem = f"it pins {PROJECT} to {version!r}, which is no version"
            _toml_source(pin, row, path.parent)
            if name == "packages" and pin.code is None and not pin.problem:
                _by_wheels(pin, row)
            if pin.version is None and pin.code is None and not pin.problem:
                pin.problem = f"it locks no version of {PROJECT}: it comes from a source"
            pins.append(pin)
    return pins


def _read_pipfile(path: Path, text: str) -> list[Pin]:
    """Return what a Pipfile.lock pins, in each of its categories."""
    try:
        data = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise Unknown(f"{path} is not JSON: {error}") from None
    if not isinstance(data, dict):
        raise Unknown(f"{path} is no Pipfile.lock: not understood")
    pins = []
    for category, rows in data.items():
        if category == "_meta":
            continue
        if not isinstance(rows, dict):
            raise Unknown(f"{path}: {category} is no table of packages: not understood")
        for name, row in rows.items():
            row = row if isinstance(row, dict) else {"version": row}
            egg = " ".join(str(row.get(key, "")) for key in ("file", "path", "git"))
            if not is_ours(name) and not _wheel_version(egg.strip()):
                continue
            marker = str(row.get("markers", ""))
            pin = Pin(None, f"{category}: {name}", path, marker=marker, kind="pipfile")
            lines = [n for n, line in enumerate(text.splitlines(), 1) if f'"{name}"' in line]
            pin.first = pin.last = lines[0] if len(lines) == 1 else 0
            version = row.get("version")
            address = row.get("file") or row.get("path")
            if isinstance(address, str):
                _sourced(pin, PROJECT, address, path.parent)
            elif row.get("git") or not isinstance(version, str):
                where = row.get("git") or "no version"
                pin.problem = f"it comes from {where}: point the doctor at the environment"
            else:
                requirement = parse_requirement(f"{PROJECT}{version}")
                if requirement is None:
                    pin.problem = f"not understood: {version!r}"
                else:
                    pin.version, pin.problem = _pinned(requirement)
            pins.append(pin)
    return pins


def _scalar(text: str) -> str | None:
    """Return a YAML scalar of one line, or None if it is not a plain or simply quoted one."""
    text = text.strip()
    if text[:1] in "'\"":
        found = re.fullmatch(r"'([^'\\]*)'|\"([^\"\\]*)\"", re.sub(r"\s+#.*$", "", text))
        return (found[1] or found[2] or "") if found else None
    text = re.sub(r"(^|\s+)#.*$", "", text).strip()
    if text[:1] in tuple("&*!|>%@`{}[],") or ": " in text or text.endswith(":"):
        return None
    return text


def _read_conda(path: Path, text: str, seen: frozenset[Path]) -> list[Pin]:
    """Return what the environment.yml of conda pins, its pip section included.

    There is no YAML parser here: only block lists of plain scalars are understood.
    """
    pins: list[Pin] = []
    section, pip_at = "", -1
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.lstrip().startswith("#") or (line == "---" and not section):
            continue
        pin = Pin(None, line.strip(), path, number, number, kind="conda")
        indent = len(line) - len(line.lstrip(" "))
        top = re.fullmatch(r"([A-Za-z_][\w-]*):(?:\s+(.*))?", line)
        item = re.fullmatch(r" *-\s+(.*)", line)
        if top:
            section, pip_at = top[1], -1
            value = top[2] or ""
            if value and not value.startswith("#"):
                plain = _scalar(value)
                if (section == "dependencies" or plain is None) and (
                    section in ("dependencies", "name") or could_name_it(value)
                ):
                    raise Unknown(f"{path}, line {number}: not understood: {line.strip()!r}")
            continue
        if section in ("channels", "variables", "name", "prefix", "platforms"):
            continue
        if section != "dependencies" or item is None or "\t" in line[: indent + 1]:
            raise Unknown(f"{path}, line {number}: not understood: {line.strip()!r}")
        if re.fullmatch(r"pip:\s*(#.*)?", item[1]):
            pip_at = indent
            continue
        value = _scalar(item[1]) or ""
        if not value:
            raise Unknown(f"{path}, line {number}: not understood: {line.strip()!r}")
        if 0 <= pip_at < indent:
            made = _requirement_line(value, pin, path.parent, seen | {path.resolve()})
            pins += made
            continue
        pip_at = -1
        spec = re.fullmatch(r"(?:[^:\s]+::)?([A-Za-z0-9._-]+)\s*(.*)", value)
        if spec is None:
            if could_name_it(value):
                raise Unknown(f"{path}, line {number}: not understood: {line.strip()!r}")
            continue
        if is_ours(spec[1]):
            exact = re.fullmatch(r"={1,2}\s*(\d+(?:\.\d+){2,}(?:(?:a|b|rc)\d+)?)(?:=\S+)?", spec[2])
            pin.version = exact[1] if exact else None
            pin.problem = "" if exact else f"it does not pin {PROJECT}: it says {value!r}"
            pin.open = not exact
            pins.append(pin)
    return pins


def lock_kind(path: Path) -> str:
    """Return how a file is read: "toml", "pipfile", "conda" or "requirements".

    Raise `Unknown`, which names what can be read, if it is of another kind.
    """
    name = path.name.lower()
    if name in ("uv.lock", "poetry.lock", "pdm.lock") or name.endswith(".py.lock"):
        return "toml"
    if re.fullmatch(r"pylock(\.[^.]+)?\.toml", name):
        return "toml"
    if name == "pipfile.lock":
        return "pipfile"
    if path.suffix.lower() in (".yml", ".yaml") and not name.startswith("conda-lock"):
        return "conda"
    others = (".toml", ".cfg", ".json", ".py", ".yml", ".yaml", ".gz", ".zip", ".xml", ".md")
    if path.suffix.lower() in others or name in ("pipfile", "pixi.lock", "dockerfile"):
        raise Unknown(f"{path} is none of what is read: {KINDS}, a wheel or a folder")
    return "requirements"


def _read(path: Path, seen: frozenset[Path]) -> list[Pin]:
    """Return what a file pins; `seen` are the files that include it."""
    kind = lock_kind(path)
    if path.is_dir():
        raise Unknown(f"{path} is a folder, not a file that pins versions")
    data = path.read_bytes()
    if kind == "requirements" and path.suffix.lower() not in (".txt", ".in", ".pip"):
        text = data[:1_000_000].decode("utf-8", "replace").lstrip("\ufeff")
        if text.lstrip().startswith("{"):
            kind = "pipfile"
        elif re.search(r"^\s*\[\[\s*[\"']?packages?[\"']?\s*\]\]", text, re.MULTILINE):
            kind = "toml"
    if kind == "requirements":
        return _read_requirements(path, seen)
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise Unknown(f"{path} is not a text file in UTF-8") from None
    if kind == "toml":
        return _read_toml(path, text)
    if kind == "pipfile":
        return _read_pipfile(path, text)
    return _read_conda(path, text, seen)


def read_pins(path: Path) -> list[Pin]:
    """Return all that a file, and those that it includes, say of livekit-agents.

    What leaves the version open is left out where something pins it under any condition: installers
    take both. Raise `Unknown` or `OSError` if the file cannot be read.
    """
    pins = _read(path, frozenset())
    if any(pin.version and not pin.marker for pin in pins):
        pins = [pin for pin in pins if not pin.open]
    return pins


def judge_pin(pin: Pin) -> Finding:
    """Judge one place of a file: by the wheel or folder that it names, else by its version."""
    if pin.code and pin.code.is_dir():
        finding, _ = examine_folder(pin.code)
    elif pin.code:
        finding = examine_wheel(pin.code)
    elif pin.version is None:
        advice = "" if "point the" in pin.problem else ": point the doctor at the environment"
        finding = Finding(State.UNKNOWN, [f"{pin.problem}{advice}"])
    else:
        finding = judge_version(pin.version)
    finding.where = f"{pin.path}, line {pin.first}" if pin.first else str(pin.path)
    return finding


def examine_lock(path: Path) -> tuple[Finding, list[tuple[Finding, Pin]]]:
    """Judge a file by the worst of what it pins; return every place that was judged too."""
    pins = read_pins(path)
    if not pins:
        raise Unknown(f"no livekit-agents found in {path}")
    judged = [(judge_pin(pin), pin) for pin in pins]
    worst, _ = min(judged, key=lambda item: list(State).index(item[0].state))
    if len(pins) > 1:
        shown = ", ".join(str(pin.version or pin.code or "not understood") for pin in pins)
        worst.why.append(f"it pins several: {shown}")
    return worst, judged


# -- the command that mends it ---------------------------------------------------------------------


class Fix(NamedTuple):
    """A shell command, or None; the files and folders that it writes; lines to say with it."""

    command: str | None
    writes: list[str]
    notes: list[str]


def _quote(*words: object) -> str:
    """Return a shell command of these words."""
    return shlex.join(str(word) for word in words)


class Wheels:
    """Where the patched wheels are: a folder or address that was given, or `dist` of the project.

    `doctor.py` may lie in a checkout of the project, or alone in a container.
    """

    def __init__(self, given: str | None) -> None:
        checkout = OWN_FILE.parent.parent
        self.checkout = checkout if (checkout / "patches" / "releases.toml").is_file() else None
        self.given = given
        folder = given or str(checkout / "dist" if self.checkout else "dist")
        self.folder = folder.rstrip("/") if "://" in folder else str(Path(folder).absolute())

    def nox(self, *arguments: str) -> str:
        """Return the command of a session of the project."""
        if self.checkout is None:
            return _quote("nox", "-s", *arguments)
        own = self.checkout / ".venv" / "bin" / "nox"
        nox = own if own.is_file() else "nox"
        return _quote(nox, "-f", self.checkout / "noxfile.py", "-s", *arguments)

    def wheel(self, release: str) -> str:
        """Return the path or address of the newest patched wheel of a release of the table."""
        version = f"{release}+procpool.{newest_of(release)}"
        name = f"livekit_agents-{version}-{TABLE.wheels.get(release, 'py3-none-any')}.whl"
        if "://" in self.folder:
            return f"{self.folder}/{name.replace('+', '%2B')}"
        return str(Path(self.folder, name))

    def build(self, releases: Iterable[str]) -> str:
        """Return what must run before the wheels of these releases are there, ending in " && "."""
        missing = [r for r in releases if not Path(self.wheel(r)).is_file()]
        if self.checkout is None or self.given or not missing:
            return ""
        return f"{self.nox('wheel', '--', *missing)} && "


def edit_command(path: Path, old: bytes, new: str, wheels: Iterable[str] = ()) -> str:
    """Return the command that makes a text file, now `old`, say `new`: doctor.py --edit.

    SHA256-OF-0 in `new` stands for the sha256 of the first of the `wheels`, and so on.
    """
    before, after = decode(old, path)[0].splitlines(True), new.splitlines(True)
    edits = {}
    for tag, i, k, j, m in difflib.SequenceMatcher(a=before, b=after, autojunk=False).get_opcodes():
        if tag != "equal":
            edits[f"{i + 1}-{k}" if k > i else f"{i}+"] = "".join(after[j:m])
    doctor = OWN_FILE if OWN_FILE.is_file() else "doctor.py"
    check = _sha256(old)[:16]
    command = [sys.executable or "python3", doctor, "--edit", path, check, json.dumps(edits)]
    return _quote(*command, *wheels)


def edit_file(path: Path, check: str, edits: str, wheels: list[str]) -> None:
    """Change the lines of a file that the JSON object `edits` names, "3-5", or adds, "5+".

    Nothing is half-written. Raise `Unknown` if the file has changed (`check` are 16 hex digits of
    its sha256), or if a wheel cannot be read.
    """
    target = Path(os.path.realpath(path))
    data = target.read_bytes()
    if _sha256(data)[:16] != check:
        raise Unknown(f"{path} has changed since the doctor looked: run it again")
    text, encoding = decode(data, path)
    lines = text.splitlines(True)
    end = "\r\n" if "\r\n" in text else "\n"
    for key, value in reversed(list(json.loads(edits).items())):
        for number, wheel in enumerate(wheels):
            mark = f"SHA256-OF-{number}"
            if mark in value:
                with urlopen(wheel) if "://" in wheel else open(wheel, "rb") as stream:  # noqa: PTH123
                    value = value.replace(mark, _sha256(stream.read()))
        added = [f"{line}{end}" for line in value.splitlines()]
        first, _, last = key.rstrip("+").partition("-")
        if key.endswith("+"):
            lines[int(first) : int(first)] = added
        else:
            lines[int(first) - 1 : int(last)] = added
    lines = [
        x if n == len(lines) or x.endswith(("\n", "\r")) else x + end
        for n, x in enumerate(lines, 1)
    ]
    handle, fresh = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write("".join(lines).encode(encoding))
        shutil.copymode(target, fresh)
        os.replace(fresh, target)
    except BaseException:
        Path(fresh).unlink()
        raise


def _replace_folder(root: Path, wheel: str, python: str) -> str:
    """Return what puts the package of a wheel into a folder, in place of the one there."""
    names = [root / "livekit" / "agents"]
    names += [root / name for name in _infos(path.name for path in root.iterdir())]
    zipped = [python, "-m", "zipfile"]
    remove = _quote("rm", "-r", *(name for name in names if name.exists()))
    return f"{_quote(*zipped, '-t', wheel)} && {remove} && {_quote(*zipped, '-e', wheel, root)}"


def _replace_in_zip(archive: Path, wheel: str, python: str) -> str:
    """Return what puts the package of a wheel into a zip file, in place of the one there."""
    with _opened(archive) as opened:
        held = opened.namelist()
    below = _prefix_in(held)
    infos = _infos(name[len(below) :] for name in held if name.startswith(below))
    old = " ".join(f'"$d"/{shlex.quote(below + name)}' for name in ["livekit/agents", *infos])
    into = f'"$d"/{shlex.quote(below)}' if below else '"$d"'
    zipped = _quote(python, "-m", "zipfile")
    return (
        f'd=$(mktemp -d) && {zipped} -e {_quote(archive)} "$d" && rm -r {old}'
        f' && {zipped} -e {_quote(wheel)} {into} && (cd "$d" && {zipped} -c "$d.zip" .)'
        f' && mv "$d.zip" {_quote(archive)} && rm -r "$d"'
    )


def install_fix(place: Place, wheel: str, stale: list[str]) -> Fix:
    """Return what replaces livekit-agents, and nothing else, in the place that was judged."""
    python, root = place.python, place.root
    notes: list[str] = []
    if "://" in wheel and place.kind in ("folder", "zip"):
        return Fix(None, [], [f"fetch {wheel}, and give its folder as --wheels"])
    if place.kind == "zip":
        note = f"the fix writes {root} anew, with livekit/agents in it replaced"
        return Fix(_replace_in_zip(root, wheel, python), [str(root)], [note])
    remove = f"{_quote('rm', '-r', *stale)} && " if stale else ""
    broken = ["--break-system-packages"] if place.managed else []
    if broken:
        notes.append(
            f"{python} is EXTERNALLY-MANAGED (PEP 668): pip and uv refuse to change it without"
            " --break-system-packages; a virtual environment for the worker is safer"
        )
    if place.kind != "folder" and place.pip:
        user = ["--user"] if place.kind == "user" else []
        command = [python, "-m", "pip", "install", *user, *broken, "--no-deps", "--force-reinstall"]
        return Fix(f"{remove}{_quote(*command, wheel)}", [str(root)], notes)
    if place.kind == "environment" and shutil.which("uv"):
        # a file edited in place may be edited in uv's cache too: they are hard links of each other
        command = ["uv", "pip", "install", "--python", python, *broken, "--no-cache", "--no-deps"]
        return Fix(f"{remove}{_quote(*command, '--reinstall', wheel)}", [str(root)], notes)
    if "://" in wheel:
        return Fix(None, [], [*notes, f"fetch {wheel}, and give its folder as --wheels"])
    notes = [f"the fix replaces {root / 'livekit' / 'agents'} as a whole"]
    return Fix(_replace_folder(root, wheel, python), [str(root)], notes)


# -- the fix of a file that pins versions ----------------------------------------------------------


def _toml_value(value: Any) -> str:
    """Return a value as TOML in one line."""
    if isinstance(value, dict):
        rows = (f"{_toml_key(key)} = {_toml_value(each)}" for key, each in value.items())
        return f"{{ {', '.join(rows)} }}"
    if isinstance(value, list):
        return f"[{', '.join(map(_toml_value, value))}]"
    return json.dumps(value, ensure_ascii=False)


def _toml_key(key: str) -> str:
    """Return a key as TOML."""
    return key if re.fullmatch(r"[A-Za-z0-9_-]+", key) else json.dumps(key)


def _toml_set(text: str, table: tuple[str, ...], key: str, value: Any, path: Path) -> str | None:
    """Return TOML with one key of a table set, every other byte kept; None if that is not plain.

    What comes out is parsed, and must be what went in but for that key.
    """
    wanted = _parse_toml(text, path)
    inner = wanted
    for name in table:
        inner = inner.setdefault(name, {})
        if not isinstance(inner, dict):
            return None
    there = key in inner
    inner[key] = value
    lines = text.splitlines(True)
    if lines and not lines[-1].endswith("\n"):
        lines[-1] += "\n"
    row = f"{_toml_key(key)} = {_toml_value(value)}\n"
    dotted = r"\s*\.\s*".join(f"[\"']?{re.escape(name)}[\"']?" for name in table)
    heads = [n for n, x in enumerate(lines) if re.match(rf"\s*\[\s*{dotted}\s*\]\s*(#.*)?$", x)]
    tries: Iterable[list[str]] = []
    if there:
        pattern = rf"\s*[\"']?{re.escape(key)}[\"']?\s*="
        starts = [n for n, line in enumerate(lines) if re.match(pattern, line)]
        tries = (
            [*lines[:start], row, *lines[end:]]
            for start in starts
            for end in range(start + 1, min(start + 60, len(lines)) + 1)
        )
    elif heads:
        tries = [[*lines[: heads[0] + 1], row, *lines[heads[0] + 1 :]]]
    else:
        tries = [[*lines, "\n" if lines else "", f"[{'.'.join(table)}]\n", row]]
    for one in tries:
        candidate = "".join(one)
        with contextlib.suppress(Unknown):
            if _parse_toml(candidate, path) == wanted:
                return candidate
    return None


def _is_requirement_of_ours(text: object) -> bool:
    """Whether a text is a requirement of livekit-agents."""
    requirement = parse_requirement(text) if isinstance(text, str) else None
    return requirement is not None and is_ours(requirement.name)


def _uv_settings(text: str, pins: list[Pin], wheels: Wheels, path: Path) -> str | None:
    """Return the text of a pyproject.toml whose uv takes the patched wheels; None if not plain.

    A constraint holds for what plugins ask for too and keeps all extras and groups; the source says
    where the wheel is. Both stand in the root of a workspace, which need be no project.
    """
    tool = _parse_toml(text, path).get("tool", {})
    uv = tool.get("uv", {}) if isinstance(tool, dict) else {}
    if not isinstance(uv, dict):
        return None
    several = len({release_of(pin.version) for pin in pins}) > 1
    constraints, sources = [], []
    for release in dict.fromkeys(release_of(pin.version) for pin in pins):
        markers = [pin.marker for pin in pins if release_of(pin.version) == release]
        if release is None or (several and not all(markers)):
            return None
        marker = " or ".join(markers) if several else ""
        version = f"{PROJECT}=={release}+procpool.{newest_of(release)}"
        constraints.append(f"{version} ; {marker}" if marker else version)
        wheel = wheels.wheel(release)
        if "://" not in wheel:
            with contextlib.suppress(ValueError):
                wheel = Path(wheel).relative_to(path.parent.absolute()).as_posix()
        source = {"url" if "://" in wheel else "path": wheel}
        sources.append({**source, "marker": marker} if marker else source)
    named = [key for key in uv.get("sources", {}) if is_ours(key)]
    current = uv["sources"][named[0]] if named else None
    ours = isinstance(current, dict) and ("procpool" in str(current))
    if current is not None and not ours:
        return None
    others = [c for c in uv.get("constraint-dependencies", []) if not _is_requirement_of_ours(c)]
    settings: list[tuple[tuple[str, ...], str, Any]] = [
        (("tool", "uv", "sources"), (named or [PROJECT])[0], sources if several else sources[0]),
        (("tool", "uv"), "constraint-dependencies", [*others, *constraints]),
    ]
    overrides = uv.get("override-dependencies", [])
    if any(_is_requirement_of_ours(each) for each in overrides):
        if several:
            return None
        version = constraints[0].partition("==")[2]
        new = [
            re.sub(r"={2,3}[^;,]*", f"=={version}", each) if _is_requirement_of_ours(each) else each
            for each in overrides
        ]
        settings.append((("tool", "uv"), "override-dependencies", new))
    changed: str | None = text
    for table, key, value in settings:
        changed = _toml_set(changed, table, key, value, path) if changed is not None else None
    return changed


def _by_hand(path: Path, pins: list[Pin], tool: str) -> Fix:
    """Return what to say where no command is known to mend a file."""
    releases = [r for r in dict.fromkeys(release_of(pin.version) for pin in pins) if r]
    versions = " and ".join(f"{r}+procpool.{newest_of(r)}" for r in releases)
    why = f"no command mends {path}: let {tool} take {PROJECT} {versions} from the patched wheel"
    return Fix(None, [], [why])


def _uv_fix(path: Path, pins: list[Pin], wheels: Wheels) -> Fix:
    """Return what makes a uv.lock take the patched wheels."""
    project, given = path.parent / "pyproject.toml", _by_hand(path, pins, "uv")
    if not project.is_file() or (path.parent / "uv.toml").exists():
        return given
    old = project.read_bytes()
    new = _uv_settings(decode(old, project)[0], pins, wheels, project)
    if new is None:
        return given
    lock = _quote("uv", "lock", "--project", path.parent)
    command = (
        f"{edit_command(project, old, new)} && {lock}" if new != decode(old, project)[0] else lock
    )
    notes = [f"the fix writes what --edit shows into {project}, and locks again"]
    return Fix(command, [str(project), str(path)], notes)


_BLOCK = re.compile(r"(?m)^# /// script\s*$\n(?P<rows>(?:^#(?: .*)?$\n)+?)^# ///\s*$")


def _script_fix(path: Path, pins: list[Pin], wheels: Wheels) -> Fix:
    """Return what makes the lock of a script (PEP 723) take the patched wheels."""
    script, given = path.with_suffix(""), _by_hand(path, pins, "uv")
    if not script.is_file():
        return given
    old = script.read_bytes()
    text = decode(old, script)[0]
    block = _BLOCK.search(text)
    if block is None:
        return given
    rows = "".join(
        line[2:] if line[1:2] == " " else line[1:] for line in block["rows"].splitlines(True)
    )
    new = _uv_settings(rows, pins, wheels, script)
    if new is None:
        return given
    quoted = "".join(f"# {line}" if line.strip() else f"#{line}" for line in new.splitlines(True))
    changed = text[: block.start("rows")] + quoted + text[block.end("rows") :]
    command = f"{edit_command(script, old, changed)} && {_quote('uv', 'lock', '--script', script)}"
    notes = [f"the fix writes what --edit shows into {script}, and locks again"]
    return Fix(command, [str(script), str(path)], notes)


def _poetry_fix(path: Path, pins: list[Pin], wheels: Wheels) -> Fix:
    """Return what makes a poetry.lock take the patched wheel, with its group and extras."""
    project, given = path.parent / "pyproject.toml", _by_hand(path, pins, "Poetry")
    release = release_of(pins[0].version)
    if release is None or len(pins) > 1 or not project.is_file():
        return given
    data = _parse_toml(decode(project.read_bytes(), project)[0], project)
    asked: list[tuple[list[str], tuple[str, ...]]] = []

    def listed(rows: object, options: list[str]) -> None:
        for row in rows if isinstance(rows, list) else []:
            requirement = parse_requirement(row) if isinstance(row, str) else None
            if requirement and is_ours(requirement.name):
                asked.append((["", ""] if requirement.marker else options, requirement.extras))

    def tabled(rows: object, options: list[str]) -> None:
        for name, row in rows.items() if isinstance(rows, dict) else []:
            if is_ours(name):
                plain = isinstance(row, str) or (
                    isinstance(row, dict) and {*row} <= {"version", "extras"}
                )
                extras = tuple(row.get("extras", ())) if isinstance(row, dict) else ()
                asked.append((options if plain else ["", ""], extras))

    own = data.get("project", {})
    listed(own.get("dependencies"), [])
    for name, rows in own.get("optional-dependencies", {}).items():
        listed(rows, ["--optional", name])
    for name, rows in data.get("dependency-groups", {}).items():
        listed(rows, ["--group", name])
    poetry = data.get("tool", {}).get("poetry", {})
    tabled(poetry.get("dependencies"), [])
    tabled(poetry.get("dev-dependencies"), ["--group", "dev"])
    for name, group in poetry.get("group", {}).items():
        tabled(group.get("dependencies"), ["--group", name])
    if len(asked) > 1 or ["", ""] in [options for options, _ in asked]:
        return given
    options, extras = asked[0] if asked else ([], ())
    wanted = wheels.wheel(release) + (f"[{','.join(extras)}]" if extras else "")
    command = _quote("poetry", "-C", path.parent, "add", "--lock", *options, wanted)
    notes = ["Poetry makes the project's virtual environment where there is none"]
    if not asked:
        notes.append(f"the fix adds {PROJECT} to the project's own dependencies")
    return Fix(command, [str(project), str(path)], notes)


def _pylock_fix(path: Path, pins: list[Pin], wheels: Wheels) -> Fix:
    """Return what puts the patched wheels into a pylock.toml, with their sums."""
    given = _by_hand(path, pins, "what wrote it")
    old = path.read_bytes()
    text = old.decode("utf-8-sig")
    before = _parse_toml(text, path)
    lines = text.splitlines(True)
    names: list[str] = []
    rows = [row for row in before.get("packages", []) if is_ours(row["name"])]
    for number, (pin, row) in reversed(list(enumerate(zip(pins, rows)))):
        release = release_of(pin.version)
        if release is None or not pin.first:
            return given
        wheel = wheels.wheel(release)
        names.insert(0, wheel)
        file = {
            "name": unquote(wheel.rpartition("/")[2]),
            "url" if "://" in wheel else "path": wheel,
            "hashes": {"sha256": f"SHA256-OF-{number}"},
        }
        kept = {k: row[k] for k in ("marker", "requires-python", "dependencies") if k in row}
        version = f"{release}+procpool.{newest_of(release)}"
        entry = {"name": row["name"], "version": version, **kept, "wheels": [file]}
        made = [
            "[[packages]]\n",
            *(f"{_toml_key(k)} = {_toml_value(v)}\n" for k, v in entry.items()),
        ]
        lines[pin.first - 1 : pin.last] = [*made, "\n"] if pin.last < len(lines) else made
        row.clear()
        row.update(entry)
    new = "".join(lines)
    if _parse_toml(new, path) != before:
        return given
    notes = [f"what made {path} would undo it: let that take the patched wheel too"]
    return Fix(edit_command(path, old, new, names), [str(path)], notes)


def _entry(pin: Pin, version: str, digest: str) -> str:
    """Return the line of a requirements file that pins a version as another was pinned."""
    words = pin.text.split(" ")
    start = next((n for n, word in enumerate(words) if word.startswith("-")), len(words))
    requirement = parse_requirement(" ".join(words[:start]))
    name, extras, marker = PROJECT, "", pin.marker
    if requirement and is_ours(requirement.name):
        name, marker = requirement.name, requirement.marker
        extras = f"[{','.join(requirement.extras)}]" if requirement.extras else ""
    elif bracketed := re.search(r"\.whl(\[[^\]]+\])", pin.text):
        extras = bracketed[1]
    entry = f"{name}{extras}=={version}" + (f" ; {marker}" if marker else "")
    return entry + (f" --hash=sha256:{digest}" if "--hash" in pin.text else "")


def _requirements_fix(path: Path, pins: list[Pin], wheels: Wheels) -> Fix:
    """Return what makes requirements files pin the patched wheels, and find them."""
    commands, writes, notes = [], [], []
    files = list(dict.fromkeys(pin.path for pin in pins))
    names = list(dict.fromkeys(wheels.wheel(release_of(pin.version) or "") for pin in pins))
    for file in [path, *(file for file in files if file != path)]:
        if lock_kind(file) != "requirements" or any(p.kind != "requirements" for p in pins):
            return _by_hand(path, pins, "what wrote it")
        old = file.read_bytes()
        text, _ = decode(old, file)
        lines = text.splitlines(True)
        end = "\r\n" if "\r\n" in text else "\n"
        for pin in sorted((p for p in pins if p.path == file), key=lambda p: -p.first):
            release = release_of(pin.version) or ""
            digest = f"SHA256-OF-{names.index(wheels.wheel(release))}"
            entry = _entry(pin, f"{release}+procpool.{newest_of(release)}", digest)
            comment = re.search(r"\s+#.*$", lines[pin.last - 1].rstrip())
            entry += comment[0] if comment and pin.first == pin.last else ""
            lines[pin.first - 1 : pin.last] = [f"{entry}{end}"]
        links = f"--find-links {wheels.folder}"
        if file == path and links not in text:
            if lines and not lines[-1].endswith(("\n", "\r")):
                lines[-1] += end
            lines.append(f"{links}{end}")
        if "autogenerated by" in text:
            notes.append(f"{file} is compiled: pin it in what it is compiled from too")
        if "".join(lines) != text:
            commands.append(edit_command(file, old, "".join(lines), names))
            writes.append(str(file))
    return Fix(" && ".join(commands), writes, notes)


def lock_fix(path: Path, judged: list[tuple[Finding, Pin]], wheels: Wheels) -> Fix:
    """Return what makes a file, and those that it includes, pin the patched wheels."""
    pins = [pin for _, pin in judged]
    bad = [pin for finding, pin in judged if finding.state != State.PATCHED or _older(finding)]
    for pin in pins:
        if pin.code and pin.version is None:
            return Fix(None, [], [f"point the doctor at {pin.code} for what mends it"])
        if pin.version is None or release_of(pin.version) is None:
            place = f"{pin.path}, line {pin.first}" if pin.first else str(pin.path)
            said = pin.problem or f"{pin.version} is no release that is known"
            return Fix(None, [], [f"no command mends {path}, because of {place}: {said}"])
    name, kind = path.name.lower(), pins[0].kind
    if name == "poetry.lock":
        return _poetry_fix(path, pins, wheels)
    if name.startswith("pylock"):
        return _pylock_fix(path, pins, wheels)
    if name == "uv.lock":
        return _uv_fix(path, pins, wheels)
    if name.endswith(".py.lock"):
        return _script_fix(path, pins, wheels)
    if kind == "requirements" and lock_kind(path) == "requirements":
        return _requirements_fix(path, bad, wheels)
    tool = {"pdm.lock": "PDM", "pipfile.lock": "Pipenv"}.get(name, "what reads it")
    return _by_hand(path, pins, tool)


_LOCKS = ("uv.lock", "poetry.lock", "pdm.lock", "Pipfile.lock", "pylock.toml")


def lock_beside(place: Place) -> tuple[Path, list[tuple[Finding, Pin]]] | None:
    """Return the lock file beside a virtual environment, and what it pins of livekit-agents.

    None if there is none that names it. Raise `Unknown` if one is not understood.
    """
    if place.kind != "environment" or place.prefix is None:
        return None
    if not (place.prefix / "pyvenv.cfg").is_file():
        return None
    folders = [place.prefix.parent]
    with contextlib.suppress(OSError):  # Pipenv's environments say whose they are
        folders.append(Path((place.prefix / ".project").read_text("utf-8", "replace").strip()))
    for path in (folder / name for folder in folders for name in _LOCKS):
        if path.is_file():
            pins = read_pins(path)
            if pins:
                return path, [(judge_pin(pin), pin) for pin in pins]
    return None


def _installer(place: Place) -> str:
    """Return what INSTALLER of livekit-agents names if that is neither pip nor uv, or ""."""
    if place.kind not in ("environment", "user") or not place.root.is_dir():
        return ""
    for info in _infos(path.name for path in place.root.iterdir()):
        with contextlib.suppress(OSError):
            name = (place.root / info / "INSTALLER").read_text("utf-8", "replace").strip()
            if name.split(" ")[0].lower() not in ("", "pip", "uv"):
                return name
    return ""


def _older(finding: Finding) -> bool:
    """Whether a patched one has not the newest revision."""
    return (finding.revision or 0) < (finding.newest_revision or 0)


# -- the scenario: whether a job stalls ------------------------------------------------------------


T = 1.0
"""Seconds: initialize_timeout, unless another is asked for."""


def limit(initialize_timeout: float = T) -> float:
    """Return the seconds within which a job must end: three times the wait timeout.

    One more is for a slow machine.
    """
    return 3 * (initialize_timeout + 5) + 1


def prewarm(proc: Any) -> None:
    """Fail after 0.1 to 0.7 s, by process."""
    time.sleep(0.1 + os.getpid() % 4 * 0.2)
    raise RuntimeError("this process cannot initialize")


async def entrypoint(context: Any) -> None:
    """Never run: no process initializes."""


def make_pool(num_idle_processes: int, initialize_timeout: float = T) -> Any:
    """Return a pool of the release that is installed, whose processes cannot initialize."""
    from livekit.agents import job
    from livekit.agents.ipc.proc_pool import ProcPool

    options = {
        "initialize_process_fnc": prewarm,
        "job_entrypoint_fnc": entrypoint,
        "num_idle_processes": num_idle_processes,
        "job_executor_type": job.JobExecutorType.PROCESS,
        "initialize_timeout": initialize_timeout,
        "close_timeout": 1.0,
        "session_end_timeout": 5.0,
        "memory_warn_mb": 0,
        "memory_limit_mb": 0,
        "mp_ctx": multiprocessing.get_context("forkserver"),
        "loop": asyncio.get_running_loop(),
    }
    parameters = list(inspect.signature(ProcPool.__init__).parameters)[1:]
    return ProcPool(**{name: options.get(name) for name in parameters})


def make_job(id: str) -> Any:
    """Return a job of the release that is installed."""
    from livekit.agents import job
    from livekit.protocol import agent

    fields = inspect.signature(job.RunningJobInfo).parameters
    values = {
        "job": agent.Job(id=id, type=agent.JobType.JT_ROOM),
        "accept_arguments": job.JobAcceptArguments(name="", identity="", metadata=""),
        "url": "",
        "token": "",
        "worker_id": "",
        "fake_job": True,
    }
    return job.RunningJobInfo(**{k: v for k, v in values.items() if k in fields})


async def reproduce(
    initialize_timeout: float = T, wait: float | None = None, close: bool = True
) -> dict[str, float]:
    """Run the scenario and print what happens.

    A pool wants four idle processes and none can initialize: prewarm raises after a time that
    differs from process to process, so that the failures do not line up and some process is always
    being started. Three jobs come, `initialize_timeout` seconds apart, and get `wait` seconds each,
    else `limit()`. `close` closes the pool at the end.

    Returns how many jobs are `stalled`, the seconds until the `slowest` verdict, 0 if there was
    none, and how many processes were `spawned` in so many `seconds`.
    """
    from livekit.agents import version

    wait = limit(initialize_timeout) if wait is None else wait
    pool = make_pool(4, initialize_timeout)
    spawned: list[Any] = []
    pool.on("process_created", spawned.append)
    release = f"livekit-agents {version.__version__}"
    print(f"{release}: no process can initialize, 3 jobs wait", flush=True)
    start = time.monotonic()
    starting = asyncio.ensure_future(pool.start())  # before 1.4.2 it blocks for ever

    async def launch(number: int) -> float | None:
        await asyncio.sleep(number * initialize_timeout)
        info = make_job(f"job-{number}")
        called = time.monotonic()
        try:
            await asyncio.wait_for(pool.launch_job(info), wait)
        except asyncio.TimeoutError:
            print(f"job-{number}: STALLED, still waiting after {wait:.0f} s", flush=True)
            return None
        except Exception as error:
            print(f"job-{number}: {error} (after {time.monotonic() - called:.1f} s)", flush=True)
        return time.monotonic() - called

    verdicts = await asyncio.gather(*(launch(number) for number in range(3)))
    seen = {
        "stalled": verdicts.count(None),
        "slowest": max((verdict or 0.0 for verdict in verdicts), default=0.0),
        "spawned": len(spawned),
        "seconds": time.monotonic() - start,
    }
    print(f"{seen['spawned']} processes were spawned in {seen['seconds']:.0f} s", flush=True)
    if close:
        closing = asyncio.ensure_future(pool.aclose())
        await asyncio.wait([closing, starting], timeout=10)
        if not closing.done():
            print("the pool does not close", flush=True)
    return seen


# -- live ------------------------------------------------------------------------------------------

LIVE_T = 0.5
"""Seconds: initialize_timeout of --live, short so that importing has time too."""
LIVE_SECONDS = 28.0
"""From the start of this process until --live ends what still runs, unless told otherwise."""


async def _scenario(seconds: float, full: float) -> None:
    """Run the scenario for --live, print what was seen as a last line of JSON, and exit.

    It ends within so many `seconds`; a job that still waits after `full` seconds has stalled.
    """
    import livekit.agents  # noqa: F401

    # four failing processes at a time would fill the output with their tracebacks
    logging.getLogger("livekit.agents").setLevel(logging.CRITICAL)
    wait = min(full, seconds - (time.monotonic() - STARTED) - 2 * LIVE_T)
    seen = await reproduce(LIVE_T, wait, close=False)
    print(json.dumps({**seen, "waited": wait, "limit": full}), flush=True)
    os._exit(0)  # an unpatched pool may not close, and may keep threads that never end


def _end_group(group: int) -> None:
    """End every process of a process group, and wait until it is empty, a second at most."""
    deadline = time.monotonic() + 1
    with contextlib.suppress(ProcessLookupError, PermissionError):
        while time.monotonic() < deadline:
            os.killpg(group, signal.SIGKILL)
            time.sleep(0.05)


def _report(saw: list[str]) -> dict[str, Any] | None:
    """Take the scenario's line of JSON out of what it printed, and return it, or None.

    Processes of the pool may print their last words after it.
    """
    for number in reversed(range(len(saw))):
        with contextlib.suppress(ValueError):
            seen: dict[str, Any] = json.loads(saw[number])
            if isinstance(seen, dict) and "stalled" in seen:
                del saw[number]
                return seen
    return None


def run_live(python: str, seconds: float, stalled_after: float) -> dict[str, Any]:
    """Run the scenario with an interpreter; return its numbers, `result` and what it `saw`.

    It ends `seconds` after this process began; a job that waits for `stalled_after` seconds has
    stalled. `result` is "stall", "no stall" or "inconclusive", and `text` says so in a line. The
    processes are in a session of their own, which is ended as a whole.
    """
    if not OWN_FILE.is_file() or not hasattr(os, "killpg"):
        raise Unknown("--live needs doctor.py as a file, on Linux or macOS")
    left = seconds - (time.monotonic() - STARTED)
    with tempfile.TemporaryFile() as output:
        command = [python, str(OWN_FILE), "--scenario", str(left - 1)]
        command += ["--limit", str(stalled_after)]
        child = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            child.wait(left)
        except subprocess.TimeoutExpired:
            pass  # what it has printed until now counts
        finally:
            _end_group(child.pid)
            child.wait()
        output.seek(0)
        saw = output.read().decode("utf-8", "replace").splitlines()
    if (seen := _report(saw)) is None:
        text = f"nothing was proved in the time there is: {' '.join(saw[-1:]) or 'no output'}"
        return {"result": "inconclusive", "text": text, "saw": saw[-20:]}
    stalled, waited = seen["stalled"], seen["waited"]
    if not stalled:
        result, text = (
            "no stall",
            f"no job stalled, the slowest ended after {seen['slowest']:.0f} s",
        )
    elif waited >= seen["limit"]:
        result, text = "stall", f"{stalled} of 3 jobs still waited after {waited:.0f} s"
    else:
        result, text = "inconclusive", f"importing took too long to wait more than {waited:.0f} s"
    return {"result": result, "text": text, "saw": saw, **seen}


def add_live(finding: Finding, live: dict[str, Any]) -> None:
    """Let what --live saw decide together with what the files say."""
    finding.live = live
    if live["result"] == "stall" and finding.state != State.PARTLY:
        finding.state = State.AFFECTED
    if live["result"] == "inconclusive" and finding.state == State.PATCHED:
        finding.state = State.UNKNOWN


# -- the report ------------------------------------------------------------------------------------


def _headline(finding: Finding) -> str:
    """Return the state in a line; of a patched one the revision too, and whether another is out."""
    text = finding.state.headline
    if finding.state == State.PATCHED:
        text += " by hand" if finding.applied == "by hand" else ""
        text += f": revision {finding.revision} of series {finding.series}"
        if _older(finding):
            text += f"; revision {finding.newest_revision} is out"
    return text


_COLORS = {"affected": 31, "partly": 33, "modified": 33, "unknown": 33, "patched": 32}


def report(finding: Finding, colored: bool = False) -> str:
    """Return the finding for people, with colours for a terminal if `colored`."""
    head = _headline(finding)
    if colored:
        head = f"\x1b[1;{_COLORS[finding.state.value]}m{head}\x1b[0m"
    lines = [head, *(f"why: {line}" for line in finding.why)]
    if finding.where:
        lines.insert(0, f"{PROJECT} {finding.version or '(no version)'} in {finding.where}")
    if finding.live:
        lines.append(f"live: {finding.live['text']}")
        lines += [f"     {line}" for line in finding.live["saw"]]
    lines += [f"note: {line}" for line in finding.notes]
    if finding.writes:
        lines.append(f"the fix writes: {', '.join(finding.writes)}")
    if finding.fix:
        lines.append(f"fix: {finding.fix}")
    elif finding.state == State.PATCHED:
        lines.append("fix: none needed")
    return "\n".join(lines)


def _is_colored() -> bool:
    """Whether standard output is a terminal that takes colours (no-color.org)."""
    plain = os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb"
    return not plain and sys.stdout is not None and sys.stdout.isatty()


def about() -> str:
    """Return what --version prints."""
    newest = max(each.revision for each in TABLE.sums)
    known = f"{PROJECT} {TABLE.releases[0]} to {TABLE.releases[-1]}, revisions to {newest}"
    own = f", sha256 {_sha256(OWN_FILE.read_bytes())[:16]}" if OWN_FILE.is_file() else ""
    return f"doctor.py knows {known}; JSON schema {SCHEMA}{own}"


def _add_fix(finding: Finding, fix: Fix, wheels: Wheels, releases: Iterable[str]) -> None:
    """Put a fix into a finding, with what must be built for it."""
    finding.notes += fix.notes
    if fix.command is None:
        return
    releases = list(dict.fromkeys(releases))
    build = wheels.build(releases)
    finding.fix, finding.writes = f"{build}{fix.command}", [*fix.writes]
    if build:
        finding.writes.insert(0, wheels.folder)
    for name in (wheels.wheel(release) for release in releases if not build):
        if "://" not in name and wheels.given and not Path(name).is_file():
            session = wheels.nox("wheel", "--", *releases)
            finding.notes.append(f"{name} is not there: '{session}' builds it")
    if wheels.checkout is None and wheels.given is None:
        session = wheels.nox("wheel", "--", *releases)
        finding.why.append(f"the fix takes what '{session}' wrote; --wheels says where it is")
    if "--edit" in fix.command and not OWN_FILE.is_file():
        finding.notes.append("the fix runs doctor.py: copy it to where the fix is run")


def mend_environment(finding: Finding, place: Place, wheels: Wheels) -> None:
    """Add what mends an installation, and the lock file beside it if that would undo it."""
    release = release_of(finding.version)
    needed = finding.state != State.UNKNOWN and (finding.state != State.PATCHED or _older(finding))
    try:
        beside = lock_beside(place)
    except (Unknown, OSError) as error:
        finding.notes.append(f"the lock file beside it may undo a fix: {error}")
        beside = None
    bad = [f for f, _ in beside[1] if f.state != State.PATCHED or _older(f)] if beside else []
    if beside and bad:
        pinned = ", ".join(dict.fromkeys(str(pin.version) for _, pin in beside[1]))
        note = f"{beside[0]} beside it pins {pinned}: its next sync brings that back"
        finding.notes.append(note)
        fix = lock_fix(*beside, wheels)
        locked = [r for r in (release_of(pin.version) for _, pin in beside[1]) if r]
        release = locked[0] if len(set(locked)) == 1 else release
        if fix.command is None or not needed or release is None:
            _add_fix(finding, fix, wheels, locked)
            return
        install = install_fix(place, wheels.wheel(release), finding.stale)
        if install.command:
            command = f"{fix.command} && {install.command}"
            fix = Fix(command, fix.writes + install.writes, fix.notes + install.notes)
        _add_fix(finding, fix, wheels, [*locked, release])
        return
    if not needed:
        return
    if name := _installer(place):
        why = f"{name} installed it, and may undo the fix: point the doctor at its lock file too"
        finding.notes.append(why)
    if release is None:
        if wheels.checkout:
            finding.fix, finding.writes = wheels.nox("releases"), [str(wheels.checkout / "patches")]
        return
    _add_fix(finding, install_fix(place, wheels.wheel(release), finding.stale), wheels, [release])


def examine(target: str | None, python: str, wheels: Wheels, script: str | None = None) -> Finding:
    """Judge the target, else what an interpreter imports, and say what mends it.

    Raise `Unknown` or `OSError` if it cannot be judged.
    """
    path = Path(target or "")
    if script and not Path(script).exists():
        raise Unknown(f"{script} does not exist: give the worker's script")
    if target is None:
        finding, place = examine_python(python, Path(script) if script else None)
        mend_environment(finding, place, wheels)
    elif not path.exists():
        raise Unknown(f"{path} does not exist: give a wheel, a folder or a lock file")
    elif (path / "pyvenv.cfg").is_file():
        raise Unknown(f"{path} is an environment: give --python {path / 'bin' / 'python'}")
    elif path.is_dir():
        try:
            finding, place = examine_folder(path)
        except Unknown as error:
            held = [path / name for name in _LOCKS if (path / name).is_file()]
            held += [path / name for name in (".venv", "venv") if (path / name).is_dir()]
            more = f": give {' or '.join(map(str, held))}" if held else ""
            raise Unknown(f"{error}{more}") from None
        mend_environment(finding, place, wheels)
    elif path.suffix in (".whl", ".zip", ".pyz", ".egg"):
        finding = examine_wheel(path) if path.suffix == ".whl" else examine_archive(path, None)
        release = release_of(finding.version)
        if path.suffix != ".whl":
            mend_environment(finding, Place("zip", path, sys.executable), wheels)
        elif release and (finding.state.exit_code == 1 or _older(finding)):
            finding.fix, finding.writes = wheels.nox("wheel", "--", release), [wheels.folder]
    else:
        finding, judged = examine_lock(path)
        bad = [pin for f, pin in judged if f.state != State.PATCHED or _older(f)]
        if bad and finding.state != State.UNKNOWN:
            releases = [r for r in (release_of(pin.version) for _, pin in judged) if r]
            _add_fix(finding, lock_fix(path, judged, wheels), wheels, releases)
    return finding


def _say(text: str) -> None:
    """Print a text; what cannot be written is said on standard error, and is no reason to fail."""
    try:
        if sys.stdout is not None:
            with contextlib.suppress(AttributeError, ValueError):
                sys.stdout.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
            print(text, flush=True)
    except BrokenPipeError:
        _silence()
    except (OSError, ValueError) as error:
        _silence()
        with contextlib.suppress(OSError, ValueError):
            print(f"error: the report cannot be written: {error}", file=sys.stderr, flush=True)


def _silence() -> None:
    """Let nothing more be written to standard output, at exit neither."""
    with contextlib.suppress(OSError, ValueError, AttributeError):
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, sys.stdout.fileno())
        os.close(null)


class _Parser(argparse.ArgumentParser):
    """Prints as the report is printed."""

    def _print_message(self, message: str, file: Any = None) -> None:
        if file is sys.stderr or sys.stdout is None:
            with contextlib.suppress(OSError, ValueError, AttributeError):
                super()._print_message(message, file)
        else:
            _say(message.rstrip("\n"))


def _seconds(text: str) -> float:
    """Read --seconds."""
    seconds = float(text)
    if not 0 < seconds < 3600:
        raise argparse.ArgumentTypeError("takes a number from 1 to 3600")
    return seconds


def _parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = _Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("target", nargs="?", help="a wheel, a folder or a file that pins versions")
    parser.add_argument("--python", help="interpreter of the environment; default: this one")
    parser.add_argument("--script", help="the worker's script, beside which Python looks first")
    parser.add_argument("--wheels", help="folder or address of the patched wheels, for the fix")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--live", action="store_true", help="reproduce a stall")
    parser.add_argument(
        "--seconds",
        type=_seconds,
        default=LIVE_SECONDS,
        help="when --live ends what still runs; default: %(default)s, and a slow host needs more",
    )
    parser.add_argument("--version", action="store_true", help="say what this file knows")
    parser.add_argument(
        "--edit", nargs="+", metavar=("FILE", "SHA256 JSON WHEEL"), help="what a fix calls"
    )
    # What --live runs in a process of its own, and the tests' way to a stall that is seen sooner.
    parser.add_argument("--scenario", type=float, help=argparse.SUPPRESS)
    parser.add_argument("--limit", type=float, default=limit(LIVE_T), help=argparse.SUPPRESS)
    return parser


def _edit(arguments: list[str]) -> int:
    """Do what --edit asks for; return the exit code."""
    try:
        file, check, edits, *wheels = arguments
        edit_file(Path(file), check, edits, wheels)
    except (Unknown, OSError, ValueError) as error:
        print(f"error: {' '.join(str(error).split())}; nothing was changed", file=sys.stderr)
        return 2
    return 0


def main() -> int:
    """Print the finding and return its exit code."""
    parser = _parser()
    options = parser.parse_args()
    if options.version:
        _say(about())
        return 0
    if options.edit:
        return _edit(options.edit)
    if options.scenario is not None:
        asyncio.run(_scenario(options.scenario, options.limit))
    if options.target and (options.python or options.live or options.script):
        parser.error("--python, --script and --live are about an environment: leave the file out")
    python = options.python or sys.executable
    if os.sep in python:
        python = str(Path(python).absolute())  # the fix may be run elsewhere
    finding: Finding | None = None
    try:
        finding = examine(options.target, python, Wheels(options.wheels), options.script)
        if options.live:
            signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # the children are ended then
            text = f"trying to make a job stall, at most {options.seconds + 2:.0f} s"
            print(text, file=sys.stderr, flush=True)
            add_live(finding, run_live(python, options.seconds, options.limit))
    except (Unknown, OSError, UnicodeError) as error:
        finding = Finding(State.UNKNOWN, [" ".join(str(error).split())])
    except Exception as error:
        said = f"{type(error).__name__}: {error}"
        why = f"the doctor failed at it, please report this: {' '.join(said.split())}"
        finding = Finding(State.UNKNOWN, [why])
    code = finding.state.exit_code
    if options.json:
        _say(json.dumps({"schema": SCHEMA, **asdict(finding), "exit_code": code}))
    else:
        _say(report(finding, _is_colored()))
    return code


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        with contextlib.suppress(OSError):
            print("error: interrupted", file=sys.stderr)
        sys.exit(130)
