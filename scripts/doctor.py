"""Say whether an installed livekit-agents can leave jobs waiting for ever, why, and what mends it.

Looks at the environment of the Python that runs it, or at what it is pointed at: `--python
VENV/bin/python`, a wheel, a site-packages folder or source tree, or a lock file (requirements.txt,
uv.lock, poetry.lock, pylock.toml). Nothing is changed and, without `--live`, nothing is imported.
The state comes from the files: their sha256 against RECORD, against the releases' own texts of the
process pool, and against the NOTICE of a patched wheel. The version number alone is never trusted;
of a lock file it is all there is, unless that names a wheel that is there.

exit codes:
  0  patched: every changed file is as the patched wheel's NOTICE states; also an older revision
  1  affected, partly (upstream's fix of 1.5.16 does not end every wait), or modified by others
  2  unknown: no livekit-agents, unreadable, not pinned, or a release that this file does not know;
     wrong arguments; patched, but --live could not finish

`--live` starts a pool whose processes cannot initialize, in that environment, and ends it again,
all within 30 seconds, or what `--seconds` says. A job that stalls there makes any state but partly
"affected"; that none stalls proves nothing by itself, and changes nothing.

One file, standard library only, Python 3.9 or newer: copy it into a container and run it there.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import contextlib
import csv
import hashlib
import inspect
import json
import logging
import multiprocessing
import os
import re
import shlex
import signal
import subprocess
import sys
import tempfile
import time
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import unquote, urlparse

# Read from standard input (docker exec -i NAME python - < doctor.py), this has no file.
OWN_FILE = Path(globals().get("__file__", "doctor.py")).resolve()
POOL = "livekit/agents/ipc/proc_pool.py"
# What the series change; NOTICE of a patched wheel says it exactly.
PATCHED_FILES = (
    POOL,
    "livekit/agents/ipc/supervised_proc.py",
    "livekit/agents/ipc/job_proc_executor.py",
    "livekit/agents/ipc/job_thread_executor.py",
    "livekit/agents/worker.py",
)
CHANGE_MARK = "# Modified by livekit-agents-procpool"
# The first release with upstream's own fix, livekit/agents#5874.
PARTLY_FIXED = "1.5.16"

# The first and the last release of each run with one text of proc_pool.py and one series, the
# series, its newest revision, and the text's sha256.
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
1.4.2   1.5.1   v1.4.2   72c20b8265500b93d77cc8df70a4be102ffda71982e1b8c1b6d86a9aa33c7769
1.5.2   1.5.15  v1.4.2   52798e4e9f674840a5ec375f46c6790401b0b437b3467277b6daf40010319c33
1.5.16  1.5.18  v1.5.16  ba8a25cdb785706016db6db95a852b419ab5d700450a1447733c3e09dd449f42
1.6.0   1.6.0   v1.6.0   d75804823b339c8a81c3bce440c9cec7add51182d155e37723cd0392d33fe4a9
1.6.1   1.8.1   v1.6.1   d75804823b339c8a81c3bce440c9cec7add51182d155e37723cd0392d33fe4a9
1.8.2   1.8.2   v1.8.2   1a316c188b22003236d2d17221496afb78f7fb9f61627c3ef28354616829fe4e
1.8.3   1.8.8   v1.8.3   1a316c188b22003236d2d17221496afb78f7fb9f61627c3ef28354616829fe4e
1.8.9   1.8.9   v1.8.9   0681a6ec556e5d92e0ad13de9b1e6579b5cb93feafbae41d43b673ba81952957
2.0.0b1 2.0.0b1 v2.0.0b1 7111c668ae77a18042c452d9f30c7e1980da44ae0d2b0843fffd4299e1469eba
"""
_FILES = """
livekit/agents/ipc/job_thread_executor.py
livekit/agents/ipc/proc_pool.py
livekit/agents/ipc/supervised_proc.py
livekit/agents/utils/aio/duplex_unix.py
livekit/agents/worker.py
"""
_PATCHED = """
1 1.0.0   1.0.11  b      87d171cb99c29598568e4e5c9c388d398fe255c6b8016e2237f57f063e5706aa
1 1.0.12  1.0.22  b      d1e743efd2bb8cef62d7580ca04cbe6d2f85d1609128ada5c78fffcad7594339
1 1.0.23  1.2.4   b      d078bb7e9a48f11476394920076c50831501167083b68de4e0e74c051fae75f1
1 1.2.5   1.2.18  b      02d20bb8420cfdf56b24e1592840974f22177f5b4436f6ea38583d3fa55835de
1 1.3.1   1.3.12  b      c70eeddf11f331aed65b287a44cee6877d0fb1db7154d0d7d32805e3a5e27a10
1 1.4.0   1.5.1   b      b2dd1dd4e6baf4c019b80682435f70bf4012740f593701f5a8a626af84058371
1 1.5.2   1.5.15  b      f9cb8c2ec48d5dac8934852293139e8a84027b329b7c7f1bda8b06512cf7183b
1 1.5.16  1.5.18  b      978cef8d19afb5d086e3e08df0a789b5d5fc4af3879f0debb978f5865138756d
1 1.6.0   1.8.1   b      2ecc2c6aab5cfccf5a37a76098f6d30179c9e753c2979cddab6ef18ea79659fc
1 1.8.2   1.8.9   b      f06ad4373cccd6c64ee1426bda901b80e506f36e1bf43c61c64efd6d9529ecc6
1 2.0.0b1 2.0.0b1 b      6587df572fb7d1c23338ca9644f7f7a4918241205faff7e28371a33bbec9e43a
1 1.0.0   1.0.11  abce   decfa38096a50026fe01c8b3becc8025e17d1889badf3145eb49bb0c1e4cc68c
1 1.0.12  1.0.19  abce   0fa3d95206ac6dd2be8cbbb34c6169616b9f58c6c2c44098624d236336174667
1 1.0.20  1.0.20  abce   4a2892d9ca988a23fef5d61d1068c11fa6d76c3b30753d4cd32c8553c462d170
1 1.0.21  1.0.22  abce   a9fa818d7be893aded8d8c5abfcb2e5f8527d55dbb7610e7577ae41aff2bdf7d
1 1.0.23  1.1.4   abce   d46eb8cfe77569819d62466621699017888f583cdea75c785e1232f8ee8fbe0a
1 1.1.5   1.1.7   abce   ac7e45e9671532db66fef9fbdda745ad9dac7192347d943b7e1b6716b409eabd
1 1.2.0   1.2.1   abce   ef18df1ea0705c568de43c6ce35e33b9932241c688fc1e73cf4baebded751052
1 1.2.2   1.2.2   abce   32076b01a8315a7a5156236ec80d2c6dda36d29215d43509fab889f1eefcd73c
1 1.2.3   1.2.3   abce   0c18801198160339ea6943d3015a95d21459a857fe242ba506bb21157bba25c0
1 1.2.4   1.2.4   abce   5688536ba2923ec7c85bdfdeff3ee73adecb0ee61c134cad6a58b4b902c4ec14
1 1.2.5   1.2.5   abce   f09a2d0fd62be591a4bbd1b86e07edaf3321e75fda12fcacbf99f3d9dee88c22
1 1.2.6   1.2.14  abce   269dfc9c04a2752c136e543fd0eaaf52d1402e8ef3094ba4f1af2f5d524e78cd
1 1.2.15  1.2.15  abce   b448012b62dd697cbbca8d1bcefcb8d31cfe39c2bea01b94c79b97cfa06c76f0
1 1.2.16  1.2.18  abce   c40bb13cae8cea8f5c5e57ef170eeb9646910caf0a54f44e68bb4d9312cf5b2f
1 1.3.1   1.3.1   abce   0e9afcad1130a522e6b9a09e4f2116fa42fe726e15e28490474f8c22dba42983
1 1.3.2   1.3.2   abce   bf5abc2917fd5eeb46a10271e2c014bff2662c6af68e5043db9212c00350d35a
1 1.3.3   1.3.3   abce   c09fcab10540f9c102106927a4a6a3bafdd83e441bc632944e43c5cac6ad4aa2
1 1.3.4   1.3.4   abce   5209a697d574c80db4b77d897c05de20b8f26b19b686b3a30ea5ed719e870aae
1 1.3.5   1.3.5   abce   46ca6edcdb23a244a63ee5b6ea4fbf140245462e959569f818d3296a23cb1330
1 1.3.6   1.3.6   abce   d5f87fd0fe88a41b0edca00c5dcbb2d7f72d3d9f3256bd8ef9ddc4e285050e84
1 1.3.7   1.3.8   abce   a9fc7683fda33f944fb0161a148b054c710944943319e2a94e828041ebfb262f
1 1.3.9   1.3.10  abce   1a8e52465a40f177fe41d81414355bd54f6ceaf7af99038128bc57e177010dcc
1 1.3.11  1.3.11  abce   f9832dc77e478594d8c5a32a83302092d69128059bc8471fa1644be82ab4900e
1 1.3.12  1.3.12  abce   a60fcf0c91f44e27132e9ac35b7fdfcd07e0a8c1de3a938741cf3258e6174c3a
1 1.4.0   1.4.1   abce   f725fc1fd0239b550b2df1877b2ee93487555788b6443e75426d8e3ad18751bc
1 1.4.2   1.4.2   abce   db9bec243bfff7a82892deff40a848c8b2e21792fd4723e8d215103db90d521f
1 1.4.3   1.4.3   abce   c59d6294a124935c3c27d00a56bf4ae775edb7864fd35238c563489719796f56
1 1.4.4   1.4.4   abce   8b72d8749b5499b026f59347fa90a2471ab6e27ed979613700516ee57752c3b5
1 1.4.5   1.4.6   abce   569d3f93c52c0be6c69b5b593bc6ea10e00c73c7c152840a74a92e3964946063
1 1.5.0   1.5.1   abce   c53636424f7495f2fc8ac6ca8e55773af995a556c5c2c896f871be808cae98c2
1 1.5.2   1.5.6   abce   197873b7fb4849049b2ec5b27aa958713dbeb4d9f15a5f1b84eec0b948d063f2
1 1.5.7   1.5.12  abce   3b7f1d0d5705379147837f0be6c9676d6b5b4e3eb7dee3f4f3137b85df38f500
1 1.5.13  1.5.15  abce   91e70cabb3d6ed53b920427dbd36c926fe8448a5cf8434c8c1f5e6322b42d9fc
1 1.5.16  1.5.16  abce   89e92b9e82d98a9576aeb8fd03a96f455f97d37e90942015d7928bff9e966203
1 1.5.17  1.5.17  abce   4c12e789b5895e19388bcdeb72af785806805657c02609206d5ae0a0fa552e33
1 1.5.18  1.5.18  abce   6968cab61cdc411d1e5562847ada2a92760202766711cf3c112485bee9fffb53
1 1.6.0   1.6.0   abce   5bd4a88c03773722092595b8f7e315f6e3e24ae0c3cf9ac4b16800d595e1b32f
1 1.6.1   1.6.4   abce   ab07d5beca1c649c0349ae2ca3c99aefb023b3069bde57b6fb3e5702f1626740
1 1.6.5   1.6.8   abce   93bb98b4dd78753863ae8baa4c3886e9b0383fd1b05f9d4a0379ab456bbd6cd4
1 1.6.9   1.7.1   abce   8fc8ed89c40c810809b2ad18e8dabac305433a1b71176f8c9783b63af6be03f7
1 1.8.0   1.8.1   abce   6f2a94ac1e065c0ed03d10df21667f70447b01473c597f6cde5b91a1e0bb7681
1 1.8.2   1.8.2   abce   14fbbbf3835c4f1746b560ee4f2bdb557c8ad32e2d47e62c0b7b6327c7c3c61b
1 1.8.3   1.8.3   abce   89785ba18f8f1247f8adc1466a57d4dae9276fd47588871f0d7135a6184ea6b9
1 1.8.4   1.8.6   abce   7413f52f377b12b54f4a69831b4a74a68cb4d8f863c829ba45a3539f15e8418d
1 1.8.7   1.8.8   abce   99fbb3152cc2bb40e8e864fa2bf5f1b506057211af658caa3ce85668b5444ae1
1 1.8.9   1.8.9   abce   453140fdacf99c0ceba46bd9b84409bf3cb32996ece477b0d86688744da05fb3
1 2.0.0b1 2.0.0b1 abce   120dc9ca1c48eb774c616eac269afa29ddfe86a821e722be5fc9b6c325698cfa
2 1.0.0   1.0.11  b      a5e7f7afa6bb767b8b295b90f3306e7ad44471850b609be5404e2415e3d753cd
2 1.0.12  1.0.22  b      9c989542fb5aa3bf05ac00cda73fb7f0af7c76f0db7ec5934056a6da96bb09a6
2 1.0.23  1.2.4   b      caaa19f3c753d414c4956d73012393a0922c2dcfced6ce17a78ce94092d230c0
2 1.2.5   1.2.18  b      868e23e5b8c0b19fc35cdc5a71b25165b3a8e9c351afa65a87efe7e141874728
2 1.3.1   1.3.12  b      7d400d37bf700086bea0b062d083eda4ba2a75ec1bf6183611105cc950887b2c
2 1.4.0   1.5.1   b      3ce726fcf0eabf599dac0285115ea371840109bc5646408f04a7ab620593ca13
2 1.5.2   1.5.15  b      6d8984eeb7f1a598de6c3284ba6d0a19ab1e072fd3e224b463be7557c8f6ca7a
2 1.5.16  1.5.18  b      c82b0c6ddbec862464579ebd0fa161bf7326d9cf93b6c3fecfb9e3d8413c30f3
2 1.6.0   1.8.1   b      98ce8802f0c0f6ba99c98fa79b962326918420ca0afc1f01c63885b31e5635d5
2 1.8.2   1.8.9   b      ac7babb44fbc7a44007f8c6202acb7fc7f3f994045472c9dc091c10ffa25fc08
2 2.0.0b1 2.0.0b1 b      171ce7cd1816697cf2363213ee1b711a3ac4ad003047538a217443866cf0e0c3
2 1.0.0   1.0.11  abcde  b1d001b0583cb3842e3a298164cb2c6d073035c73f4630aea099ea978ce6ec89
2 1.0.12  1.0.19  abcde  967822d753e36036d1590889befd3468aba9fe5a0f37ea3c1b96311d7d731256
2 1.0.20  1.0.20  abcde  fd27baf25a138648777200e8ad9ea38fd06ef27d6f418bb790dbf3a0f160b860
2 1.0.21  1.0.22  abcde  d95a57032c681553bef49b22cba61bc892343d51b123e2a7e8663e75b8ad4771
2 1.0.23  1.1.4   abcde  a44456b8e1c661cfe898a3c1a6ad4511c5d4c1fdc20955842fe9e9836ef9e9a5
2 1.1.5   1.1.7   abcde  4746fb5fe4eca051dfa968b4bbc30fab8c9ed55ea60aaf09fc9b6f4267fe26d4
2 1.2.0   1.2.1   abcde  b3e40924efde2d01c8c4f5634a0caf2e5747fe7038f14da552b3db34e7a24abc
2 1.2.2   1.2.2   abcde  e9aa4fea1b032193519b56aa3f02ff096db47cd12dd235dd365176b7251adaf6
2 1.2.3   1.2.3   abcde  cce983e90223889eb8d44dfa55b6e8ac0c4b7aceac77e1465e7ee686d1f7f834
2 1.2.4   1.2.4   abcde  7c6edc83dbf539056985ce62faff0fb3db9edb512e372877eb777bcd060267dc
2 1.2.5   1.2.5   abcde  c1461960b27b2f2f7bb6ab3cf84e942fd500482227290984003f329d14d8a578
2 1.2.6   1.2.14  abcde  155d99d845f1a173a6ad903996c7bdcbdd13ef2fdb4c0bed67b1c840edcf0e6b
2 1.2.15  1.2.15  abcde  ad6098a0a1cec252bfcc4897132bad1d0fdd1c52d0b26c4add73da95a6a66964
2 1.2.16  1.2.18  abcde  2cccd7987bcc56040b058f5561abd58580f7ef880e65d7f7ea7a5d74a72d9d9b
2 1.3.1   1.3.1   abcde  188d58888ab3f487f539140bef2df5be2dc3662c6c09d0bce95c3c332b79386c
2 1.3.2   1.3.2   abcde  7652a4450483a0eafa1e61002eedaa18d3908181add6e2c83f395479d11f78b1
2 1.3.3   1.3.3   abcde  4c6bbd44a489ffdacb69748350c112b6338e04b6936b6ab479c31734c6c6e358
2 1.3.4   1.3.4   abcde  f8e8929d4f8881d5122fee4616e0a3797d33d714aebe7c5a89bfd33b71139153
2 1.3.5   1.3.5   abcde  ead184b44ea595ffbd7b644ca6c012ed39fbe0e15a6fd1975b6ee01c5bef55eb
2 1.3.6   1.3.6   abcde  ad38f8627d0efa4b2c32be2e21261da9c1671c4cfa483b041bba1e40902fd973
2 1.3.7   1.3.8   abcde  bcdb5a2bba143c624130030e0997d42c9f318629c5fc79439a6a0162286811b6
2 1.3.9   1.3.10  abcde  c4e92c47865191559088eb2e7eab813b39abcecab18cf8412242a22953d784e7
2 1.3.11  1.3.11  abcde  e45fa7b0275b4f018668308d3e27e2ae96afaabb3e6afdd3450f1f4a2d29316b
2 1.3.12  1.3.12  abcde  07e1817d477778b885e8021782bb9a9f5ecd4d8c5cee57251a96b618a086f408
2 1.4.0   1.4.1   abcde  7d0e37efdf1a5003d252b228828e9f935ed9617780c3c362665157d7b7e68e12
2 1.4.2   1.4.2   abcde  ae2b4cbf42b70bad82344c609621aea82c3b9bbd8656dba3446728ba73273ef3
2 1.4.3   1.4.3   abcde  98d869ba31b74ce00ef2e890db06fd0c7f661d5f0f027ad19f116c925447b876
2 1.4.4   1.4.4   abcde  8582a215f62a56d251f27cf1b9693de8fdc67546ddf38a21824af07f9f3fd594
2 1.4.5   1.4.6   abcde  34e8065f86783f5e19c48eae58181a195191f961a18a9ca7f376ae1f9e2af43b
2 1.5.0   1.5.1   abcde  b3d4f2615c4a0df20f8c2dbc8604f7aa52623c8754a30f8e94ae93406088e0ed
2 1.5.2   1.5.6   abcde  af96a4c27e6c82d40c4d3f2230669759cf7684804380ec1ba6171258bc0b062d
2 1.5.7   1.5.12  abcde  8a7074dc70c149ae64bfc93a83e0cc40c34fe0761c6a5a82ec67f90324eda744
2 1.5.13  1.5.15  abcde  eaef68d275301aeb48ef538c783875ec08bc86c11b9e8d309746ef6a3313880f
2 1.5.16  1.5.16  abcde  068704e9b9c86adfb8a201ebca2bb7b2bc562103739445c28ead3f5a8c245278
2 1.5.17  1.5.17  abcde  b114e493f13b2a35ecb5285ade6b3af2ad03b1347d7355d0e5ef5582fbb7fd0f
2 1.5.18  1.5.18  abcde  8195d36c1e2e57b167580c96684b90d656307091223c9aa3c989afdc51e4e466
2 1.6.0   1.6.0   abcde  d80c7554f78f258d9d589985293cb3af0224bddb4214166c67d8d241eae092cb
2 1.6.1   1.6.4   abcde  f2e202faf86d7085e92310b1d78ae4403168b4e6783686f073c1f180fdfe607a
2 1.6.5   1.6.8   abcde  3b97c66a9ee9149ebb994cba1678a149e5f82b70c39f09b4180845154a890c8f
2 1.6.9   1.7.1   abcde  4f68736ccfcabdef4ba0ca20c82b5ca87899b75187b106eb3d05148aabd4c1d1
2 1.8.0   1.8.1   abcde  a32903f6e063ea826befd199dd3e6bb5a58a785ad95790757808cf8e8fc0d727
2 1.8.2   1.8.2   abcde  e2721a87c220c865029904032d15dc473b6888829f81733035e68653d74ff0ab
2 1.8.3   1.8.3   abcde  ed3962541a80b20bd0a7e2c01911e84197bb37d0e2f2964039fd2fc99e4915a6
2 1.8.4   1.8.6   abcde  0f2f9e008767e4191eda94449f8be9bc95e792e97eeefbf41064dbe0227e1f0d
2 1.8.7   1.8.8   abcde  3ccb106a4c93565a89b26656196cd4c20f87c17a2f8922783709a6da665f77c9
2 1.8.9   1.8.9   abcde  dc2114334b77b6cb3272f271542cc045fc033cc07ac34daafb53465314ea8547
2 2.0.0b1 2.0.0b1 abcde  641c3a102991cd51caaf46b7e2221c757f2911fda43012660e4473594ab3baba
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

    first: str
    last: str
    series: str
    revision: int
    sha256: str


def _rows(table: str) -> list[Row]:
    """Read the table above."""
    cells = [line.split() for line in table.split("\n") if line]
    return [Row(first, last, series, int(rev), sha) for first, last, series, rev, sha in cells]


ROWS = _rows(_TABLE)


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

    `why` holds a line or two; `fix` is a shell command, or None where none is needed or none is
    known.
    """

    state: State
    why: list[str]
    version: str | None = None
    where: str = ""
    series: str | None = None
    revision: int | None = None
    newest_revision: int | None = None
    fix: str | None = None
    live: dict[str, Any] | None = None
    stale: list[str] = field(default_factory=list)
    """.dist-info folders that the files do not belong to."""


Read = Callable[[str], "bytes | None"]
"""Returns the bytes of a file by its path, as in RECORD, or None if there is no such file."""


# -- versions --------------------------------------------------------------------------------------


def version_key(version: str) -> tuple[tuple[int, ...], tuple[int, str, int]] | None:
    """Return what orders a release or pre-release (PEP 440), its local version left out, or None.

    None stands for what no release of the table looks like: development and post-releases.
    """
    found = re.fullmatch(r"v?(\d+(?:\.\d+)*)(?:(a|b|rc)(\d+))?(?:\+[\w.]+)?", version)
    if found is None:
        return None
    numbers = tuple(int(number) for number in re.sub(r"(\.0+)+$", "", found[1]).split("."))
    return numbers, (0, found[2], int(found[3])) if found[2] else (1, "", 0)


def row_of(version: str | None) -> Row | None:
    """Return the row of the table that a version lies in, or None."""
    key = version_key(version or "")
    for row in ROWS:
        first, last = version_key(row.first), version_key(row.last)
        if key and first and last and first <= key <= last:
            return row
    return None


def base_of(version: str) -> str:
    """Return a version without its local part."""
    return version.partition("+")[0]


def _wheel_version(name: str) -> str | None:
    """Return the version in the file name, path or address of a wheel of livekit-agents."""
    found = re.search(r"(?:^|[/\\])livekit_agents-([^-/\\]+)-[^/\\]*\.whl", unquote(name))
    return found[1] if found else None


# -- the files of an installation ------------------------------------------------------------------


def _sha256(data: bytes) -> str:
    """Return 64 hex digits."""
    return hashlib.sha256(data).hexdigest()


def read_record(read: Read, info: str | None) -> dict[str, str]:
    """Return path -> sha256 in hex of the RECORD in the folder `info`; empty if there is none."""
    data = read(f"{info}/RECORD") if info else None
    rows = csv.reader((data or b"").decode("utf-8", "replace").splitlines())
    found = {}
    for row in rows:
        if len(row) > 1 and row[1].startswith("sha256="):
            digest = row[1].partition("=")[2]
            with contextlib.suppress(ValueError):
                found[row[0]] = base64.urlsafe_b64decode(digest + "=" * (-len(digest) % 4)).hex()
    return found


def read_version(read: Read, info: str | None) -> str | None:
    """Return the version that METADATA states, or without one livekit/agents/version.py."""
    name, pattern = "livekit/agents/version.py", r"^__version__ = [\"']([^\"']+)"
    if info:
        name, pattern = f"{info}/METADATA", r"^Version: *(\S+)"
    found = re.search(pattern, (read(name) or b"").decode("utf-8", "replace"), re.MULTILINE)
    return found[1] if found else None


def _listed(names: list[str]) -> str:
    """Return the last parts of up to three paths, and how many more there are."""
    shown = ", ".join(name.rsplit("/", 1)[-1] for name in names[:3])
    return shown + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def _edited(read: Read, record: dict[str, str], names: list[str]) -> list[str]:
    """Return those of `names` that RECORD lists and that are missing or have another sha256."""
    return [n for n in names if n in record and _sha256(read(n) or b"") != record[n]]


def judge_patched(read: Read, info: str, version: str, record: dict[str, str]) -> Finding:
    """Judge what says that it is a patched wheel's, by NOTICE, RECORD and the change marks."""
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
    row = row_of(version)
    problems = []
    if version.partition("+")[2] != f"procpool.{revision}":
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
    if problems:
        return Finding(State.MODIFIED, problems)
    reasons = [f"all {len(names)} changed files are as the wheel's NOTICE states"]
    if not record:
        reasons.append("there is no RECORD: checked against NOTICE only")
    newest = next((row.revision for row in ROWS if row.series == series), None)
    return Finding(State.PATCHED, reasons, series=series, revision=revision, newest_revision=newest)


def judge(read: Read, info: str | None) -> Finding:
    """Judge the files of one installation or wheel; `info` is the name of its .dist-info folder."""
    version, record = read_version(read, info), read_record(read, info)
    pool = read(POOL)
    if pool is None:
        why = f"{POOL} is missing: not livekit-agents 1.x, or a broken installation"
        return Finding(State.UNKNOWN, [why], version)
    known = [row for row in ROWS if row.sha256 == _sha256(pool)]
    edited = _edited(read, record, list(PATCHED_FILES))
    notice = read(f"{info}/procpool/NOTICE") if info else None
    says_patched = "+procpool" in (version or "") or CHANGE_MARK.encode() in pool or notice
    if known:
        finding = judge_version(known[0].first)
        finding.why[0] = f"its process pool is upstream's own: {finding.why[0]}"
        if says_patched:
            finding.why.append(f"though it says that it is patched (version {version})")
        elif row_of(version) not in known:
            finding.why.append(f"though {version} is not a release with this text of the pool")
        if edited:
            finding.why.append(f"edited after it was installed: {_listed(edited)}")
    elif info and says_patched:
        finding = judge_patched(read, info, version or "", record)
    elif edited:
        why = f"edited after it was installed (RECORD states another sha256): {_listed(edited)}"
        finding = Finding(State.MODIFIED, [why])
    elif row_of(version) is None:
        finding = judge_version(version or "")
    elif not record:
        why = "its process pool is no release's, and there is no RECORD to check it against"
        finding = Finding(State.MODIFIED, [f"{why}: a source tree or an editable install"])
    else:
        why = f"its process pool is neither that of {base_of(version or '')} nor a patched one"
        why += ", though RECORD agrees: built or edited by others"
        finding = Finding(State.MODIFIED, [why])
    finding.version = version
    return finding


def judge_version(version: str) -> Finding:
    """Judge a release by its number alone."""
    row, base = row_of(version), base_of(version)
    if row is None:
        newest = ROWS[-1].last
        why = f"{version or 'no version'} is none of the releases that are known, 1.0.0 to {newest}"
        return Finding(State.UNKNOWN, [f"{why}: try --live, or a newer doctor.py"], version)
    local = re.fullmatch(r"procpool\.(\d+)", version.partition("+")[2])
    if local:
        why = "by its version; point the doctor at the wheel or the environment to check the files"
        revision = int(local[1])
        return Finding(State.PATCHED, [why], version, "", row.series, revision, row.revision)
    if "+" in version:
        why = f"{version} is a build by others: point the doctor at the wheel or the environment"
        return Finding(State.MODIFIED, [why], version)
    if (version_key(base) or ()) >= (version_key(PARTLY_FIXED) or ()):
        why = (
            "upstream's fix (livekit/agents#5874) ends a job's wait only when all failures of the"
            " processes line up; otherwise the job waits for ever"
        )
        return Finding(State.PARTLY, [why], version)
    why = "when no process can initialize, a job waits for ever (livekit/agents#5868)"
    return Finding(State.AFFECTED, [why], version)


# -- what it can be pointed at ---------------------------------------------------------------------


def _is_ours(name: str) -> bool:
    """Whether a name, in any spelling (PEP 503), is that of livekit-agents."""
    return re.sub(r"[-_.]+", "-", name).lower() == "livekit-agents"


def _folder_reader(folder: Path) -> Read:
    """Return a reader of the files below a folder."""

    def read(name: str) -> bytes | None:
        path = folder / name
        return path.read_bytes() if path.is_file() else None

    return read


def _path_files(folder: Path) -> list[Path]:
    """Return the folders that the .pth files (module `site`) of a site-packages folder name."""
    lines = [
        line.strip()
        for file in sorted(folder.glob("*.pth"))
        for line in file.read_text("utf-8", "replace").splitlines()
    ]
    found = [folder / line for line in lines if line and not line.startswith(("#", "import"))]
    return [path for path in found if path.is_dir()]


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


def _distinct(folders: list[Path]) -> list[Path]:
    """Return each folder once, in order: lib64 is often a link to lib, and both on sys.path."""
    found: dict[Path, Path] = {}
    for folder in folders:
        found.setdefault(folder.resolve(), folder)
    return list(found.values())


def examine_folders(folders: list[Path], named: str) -> Finding:
    """Judge the livekit-agents that is imported from `folders`, in the order of sys.path."""
    folders = _distinct(folders)
    infos = [
        info
        for folder in folders
        for info in sorted(folder.glob("*.dist-info"))
        if _is_ours(info.name.split("-")[0])
    ]
    sources = [source for info in infos for source in _editable_source(info)]
    roots = [root for root in _distinct([*folders, *sources]) if (root / POOL).is_file()]
    if not roots and not infos:
        raise Unknown(f"no livekit-agents found in {named}")
    root = roots[0] if roots else infos[0].parent
    read = _folder_reader(root)
    here = [info.name for info in infos if info.parent == root]
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
    if len(roots) > 1:
        finding.why.append(f"another copy, which is not the one imported: {roots[1]}")
    return finding


def examine_python(python: str) -> tuple[Finding, list[Path]]:
    """Judge the environment of an interpreter; return its sys.path too, without our own folder."""
    # -c puts the current directory first, which a worker that is run as a file has not there
    code = "import json, sys; print(json.dumps(sys.path[not getattr(sys.flags, 'safe_path', 0):]))"
    try:
        result = subprocess.run([python, "-c", code], capture_output=True, text=True, timeout=20)
        paths = [Path(path) for path in json.loads(result.stdout.splitlines()[-1])]
    except (OSError, ValueError, IndexError, subprocess.TimeoutExpired):
        raise Unknown(f"{python} does not run: give the interpreter of an environment") from None
    paths = [path for path in paths if path.is_dir()]
    return examine_folders(paths, f"the path of {python}"), paths


def examine_wheel(wheel: Path) -> Finding:
    """Judge a wheel file."""
    try:
        with zipfile.ZipFile(wheel) as archive:
            names = set(archive.namelist())
            infos = sorted({n.split("/")[0] for n in names if n.endswith(".dist-info/METADATA")})
            if not [info for info in infos if _is_ours(info.split("-")[0])]:
                raise Unknown(f"{wheel} is not a wheel of livekit-agents")
            finding = judge(lambda n: archive.read(n) if n in names else None, infos[0])
    except (zipfile.BadZipFile, EOFError, NotImplementedError, RuntimeError, zlib.error) as error:
        raise Unknown(f"{wheel} is damaged: {error}: build or fetch it again") from None
    finding.where = str(wheel)
    if len(infos) > 1:
        finding.state, finding.why = State.MODIFIED, [f"it holds several: {', '.join(infos)}"]
    return finding


class Pin(NamedTuple):
    """A version of livekit-agents that a lock file names, and where in the file.

    `text` is the entry, of lines `first` to `last`, counted from 1.
    """

    version: str | None
    text: str
    first: int
    last: int


def read_lock(path: Path) -> list[Pin]:
    """Return what uv.lock, poetry.lock or pylock.toml (PEP 751) pins: an entry a [[package]].

    All three are written by programs, with a package's name and version on lines of their own.
    """
    lines = path.read_text("utf-8").splitlines()
    headers = [number for number, line in enumerate(lines) if re.match(r"\[\[packages?\]\]", line)]
    pins = []
    for start, end in zip(headers, [*headers[1:], len(lines)]):
        keys = {}
        for line in lines[start + 1 : end]:
            if line.startswith("["):
                break  # a table inside the package
            if found := re.match(r"(name|version) *= *[\"']([^\"']*)[\"']", line):
                keys[found[1]] = found[2]
        if _is_ours(keys.get("name", "")):
            text = "\n".join(lines[start:end])
            pins.append(Pin(keys.get("version"), text, start + 1, end))
    return pins


def read_requirements(path: Path) -> list[Pin]:
    """Return what a requirements file pins: `==`, or the address or path of a wheel."""
    lines = path.read_text("utf-8").splitlines()
    pins, number = [], 0
    while number < len(lines):
        first = number
        while lines[number].endswith("\\") and number + 1 < len(lines):
            number += 1
        number += 1
        text = " ".join(line.rstrip("\\") for line in lines[first:number])
        text = re.sub(r"(^|\s)#.*", "", text).strip()
        found = re.match(r"([A-Za-z0-9._-]+)\s*(?:\[[^\]]*\])?\s*(?=$|[\s;@(<>=!~])(.*)", text)
        if _wheel_version(text.split(" --hash")[0]):
            version = _wheel_version(text.split(" --hash")[0])
        elif found and _is_ours(found[1]):
            exact = re.match(r"\(?\s*={2,3}\s*([^\s;,)*]+)\s*\)?\s*(?:;|--hash|$)", found[2])
            version = exact[1] if exact else None
        else:
            continue
        pins.append(Pin(version, text, first + 1, number))
    return pins


def _lock_kind(path: Path) -> str:
    """Return "uv", "poetry", "pylock" or "requirements" by a file's name (PEP 751 for pylock)."""
    if path.name in ("uv.lock", "poetry.lock"):
        return path.stem
    if re.fullmatch(r"pylock(\.[^.]+)?\.toml", path.name):
        return "pylock"
    if path.suffix in (".txt", ".in"):
        return "requirements"
    raise Unknown(
        f"{path} is none of what the doctor reads: a wheel, a folder, requirements.txt, uv.lock,"
        " poetry.lock, pylock.toml"
    )


def examine_lock(path: Path) -> tuple[Finding, Pin]:
    """Judge a lock file by the worst of what it pins; return that entry too."""
    pins = read_requirements(path) if _lock_kind(path) == "requirements" else read_lock(path)
    if not pins:
        raise Unknown(f"no livekit-agents found in {path}")
    judged = []
    for pin in pins:
        named = re.search(r"(?:^|@|\b(?:path|url) = \")\s*([^\s\"<>]+\.whl)", pin.text)
        wheel = path.parent / unquote(named[1]).replace("file://", "", 1) if named else path
        if pin.version is None:
            why = "it does not pin livekit-agents: point the doctor at the environment"
            finding = Finding(State.UNKNOWN, [why])
        elif wheel != path and wheel.is_file():
            finding = examine_wheel(wheel)
        else:
            finding = judge_version(pin.version)
        finding.where = f"{path}, line {pin.first}"
        judged.append((finding, pin))
    worst, at = min(judged, key=lambda item: list(State).index(item[0].state))
    if len(pins) > 1:
        worst.why.append(f"it pins several: {', '.join(str(pin.version) for pin in pins)}")
    return worst, at


# -- the command that mends it ---------------------------------------------------------------------


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
        self.folder = given or str(checkout / "dist" if self.checkout else "dist")

    def nox(self, *arguments: str) -> str:
        """Return the command of a session of the project."""
        if self.checkout is None:
            return _quote("nox", "-s", *arguments)
        own = self.checkout / ".venv" / "bin" / "nox"
        nox = own if own.is_file() else "nox"
        return _quote(nox, "-f", self.checkout / "noxfile.py", "-s", *arguments)

    def wheel(self, base: str, revision: int) -> tuple[str, str]:
        """Return the patched wheel's path or address, and what must run before it is there."""
        name = f"livekit_agents-{base}+procpool.{revision}-py3-none-any.whl"
        if "://" in self.folder:
            return f"{self.folder.rstrip('/')}/{name.replace('+', '%2B')}", ""
        path = Path(self.folder, name)
        build = self.checkout and not self.given and not path.is_file()
        return str(path), f"{self.nox('wheel', '--', base)} && " if build else ""


def install_command(python: str, paths: list[Path], wheel: str) -> str:
    """Return what replaces livekit-agents, and nothing else, in an environment."""
    if any((path / "pip" / "__init__.py").is_file() for path in paths):
        return _quote(python, "-m", "pip", "install", "--no-deps", "--force-reinstall", wheel)
    # a file edited in place may be edited in uv's cache too: they are hard links of each other
    install = ["uv", "pip", "install", "--python", python, "--no-cache", "--no-deps", "--reinstall"]
    return _quote(*install, wheel)


def _extras(project: Path) -> str:
    """Return the extras of livekit-agents, as "[images]", that a pyproject.toml asks for, or ""."""
    text = project.read_text("utf-8", "replace") if project.is_file() else ""
    name = r"livekit[-_.]agents\"?\s*"
    found = re.search(rf"{name}(?:\[|=\s*\{{[^}}]*extras\s*=\s*\[)([^\]]*)\]", text)
    return f"[{re.sub(r'[^a-z0-9,_-]', '', found[1])}]" if found else ""


def lock_command(path: Path, pin: Pin, version: str, wheel: str) -> str:
    """Return what makes a lock file pin the patched wheel."""
    kind, folder = _lock_kind(path), path.parent
    if kind == "poetry":
        extras = _extras(folder / "pyproject.toml")
        return _quote("poetry", "-C", folder, "add", "--lock", f"{wheel}{extras}")
    if kind != "requirements":
        command = _quote("uv", "add", "--project", folder, "--no-sync", wheel)
        export = _quote("uv", "export", "-q", "--project", folder, "-o", path)
        return f"{command} && {export}" if kind == "pylock" else command
    entry = re.sub(r"\s*--hash=\S+", "", pin.text)
    equal = f"=={pin.version}"
    entry = entry.replace(equal, f"=={version}") if equal in entry else wheel
    edit = shlex.quote(f"{pin.first}s|.*|{entry}|")
    if "--hash=" in pin.text:
        digest = f'"$(sha256sum {shlex.quote(wheel)} | cut -c1-64)"'
        edit = shlex.quote(f"{pin.first}s|.*|{entry} --hash=sha256:") + f"{digest}'|'"
    delete = f" -e {pin.first + 1},{pin.last}d" if pin.last > pin.first else ""
    append = f"printf '\\n--find-links %s\\n' {_quote(wheel.rpartition('/')[0])}"
    return f"sed -i.bak -e {edit}{delete} {_quote(path)} && {append} >> {_quote(path)}"


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
        text += f": revision {finding.revision} of series {finding.series}"
        if finding.newest_revision is None or (finding.revision or 0) > finding.newest_revision:
            text += ", which is newer than this doctor.py"
        elif (finding.revision or 0) < finding.newest_revision:
            text += f"; revision {finding.newest_revision} is out"
    return text


def report(finding: Finding) -> str:
    """Return the finding for people."""
    lines = [_headline(finding), *(f"why: {line}" for line in finding.why)]
    if finding.where:
        lines.insert(0, f"livekit-agents {finding.version or '(no version)'} in {finding.where}")
    if finding.live:
        lines.append(f"live: {finding.live['text']}")
        lines += [f"     {line}" for line in finding.live["saw"]]
    if finding.fix:
        lines.append(f"fix: {finding.fix}")
    elif finding.state == State.PATCHED:
        lines.append("fix: none needed")
    return "\n".join(lines)


def _environment_of(folder: Path) -> str:
    """Return the interpreter of a site-packages folder, as far as its place tells."""
    prefix = folder.resolve().parent.parent.parent
    for name in (folder.resolve().parent.name, "python3"):
        if (prefix / "bin" / name).is_file():
            return str(prefix / "bin" / name)
    return "python"


def examine(target: str | None, python: str, wheels: Wheels) -> Finding:
    """Judge the target, else the environment of the interpreter, and say what mends it."""
    path = Path(target or "")
    pin: Pin | None = None
    paths: list[Path] = []
    if target is None:
        finding, paths = examine_python(python)
    elif not path.exists():
        raise Unknown(f"{path} does not exist: give a wheel, a folder or a lock file")
    elif (path / "pyvenv.cfg").is_file():
        raise Unknown(f"{path} is an environment: give --python {path / 'bin' / 'python'}")
    elif path.is_dir():
        paths, python = [path, *_path_files(path)], _environment_of(path)
        finding = examine_folders(paths, str(path))
    elif path.suffix == ".whl":
        finding = examine_wheel(path)
    else:
        finding, pin = examine_lock(path)

    base, row = base_of(finding.version or ""), row_of(finding.version)
    older = (finding.revision or 0) < (finding.newest_revision or 0)
    if finding.state == State.UNKNOWN or (finding.state == State.PATCHED and not older):
        return finding
    if row is None:
        finding.fix = wheels.nox("releases") if wheels.checkout else None
    elif target and path.suffix == ".whl":
        finding.fix = wheels.nox("wheel", "--", base)
    else:
        wheel, build = wheels.wheel(base, row.revision)
        if pin:
            fix = lock_command(path, pin, f"{base}+procpool.{row.revision}", wheel)
        else:
            fix = install_command(python, paths, wheel)
        stale = f"{_quote('rm', '-r', *finding.stale)} && " if finding.stale else ""
        finding.fix = f"{build}{stale}{fix}"
        if wheels.checkout is None and wheels.given is None:
            session = wheels.nox("wheel", "--", base)
            finding.why.append(f"the fix takes what '{session}' wrote; --wheels says where it is")
    return finding


def main() -> int:
    """Print the finding and return its exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("target", nargs="?", help="a wheel, a folder or a lock file")
    parser.add_argument("--python", help="interpreter of the environment; default: this one")
    parser.add_argument("--wheels", help="folder or address of the patched wheels, for the fix")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--live", action="store_true", help="reproduce a stall")
    parser.add_argument(
        "--seconds",
        type=float,
        default=LIVE_SECONDS,
        help="when --live ends what still runs; default: %(default)s, and a slow host needs more",
    )
    # What --live runs in a process of its own, and the tests' way to a stall that is seen sooner.
    parser.add_argument("--scenario", type=float, help=argparse.SUPPRESS)
    parser.add_argument("--limit", type=float, default=limit(LIVE_T), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.scenario is not None:
        asyncio.run(_scenario(options.scenario, options.limit))
    if options.target and (options.python or options.live):
        parser.error("--python and --live look at an environment: leave the wheel or file out")
    if not 0 < options.seconds < 3600:
        parser.error("--seconds takes a number from 1 to 3600")
    python = options.python or sys.executable
    try:
        finding = examine(options.target, python, Wheels(options.wheels))
        if options.live:
            signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # the children are ended then
            text = f"trying to make a job stall, at most {options.seconds + 2:.0f} s"
            print(text, file=sys.stderr, flush=True)
            add_live(finding, run_live(python, options.seconds, options.limit))
    except (Unknown, OSError, UnicodeDecodeError) as error:
        finding = Finding(State.UNKNOWN, [" ".join(str(error).split())])
    code = finding.state.exit_code
    print(json.dumps({**asdict(finding), "exit_code": code}) if options.json else report(finding))
    return code


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        print("error: interrupted", file=sys.stderr)
        sys.exit(130)
