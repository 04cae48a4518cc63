"""Country calling codes (ITU-T E.164) and how many digits may follow each.

The lengths are those that libphonenumber's metadata (9.0) gives for fixed lines, mobile telephones, toll-free and
shared-cost numbers of all countries with that code; for +1 the area code is always there (NANP).
"""

# "least-most": the codes whose national numbers have so many digits
_LENGTHS = """
4-7: 683 690
4-10: 98
4-11: 352
4-13: 43 598
5-5: 682
5-6: 247
5-7: 676 677 678 688
5-8: 47 386 686
5-10: 27 64 685
5-11: 31 852
5-12: 358 971
5-14: 82
5-15: 49
6-6: 298 299 672 687
6-7: 597
6-9: 40 252 355 376 421 508 681 689
6-10: 46 53 95 290 500 880
6-11: 375 595
6-12: 39 61 359 381
6-13: 63
7-7: 238 239 246 248 269 291 297 592 673 674 680 691 692
7-8: 241 599 670 675 853 961 965 975
7-9: 220 231 245 265 354 385 423 967 968
7-10: 44 48 84 230 243 254 263 267 353 372 960
7-11: 501 503 507 679 886 974
7-12: 86 882 972
7-13: 90
7-14: 62
8-8: 45 216 222 223 226 227 228 232 235 236 253 257 266 350 356 357 370 371 373 374 389 505 509 800 808 973 993
8-9: 32 36 51 213 224 233 237 250 258 264 268 377 382 387 591 962 963
8-10: 20 60 378 506 850 855 856 964 970 976
8-11: 55 57 65 502 504 593 977
8-12: 92 383 883
8-13: 66 81 91
9-9: 33 34 41 93 94 211 212 218 221 240 242 244 249 251 255 256 260 261 262 351 420 590 594 596 979 992 994 995 998
9-10: 380 881 966 996
9-11: 56
9-12: 870
10-10: 1 52 58 225 229
10-11: 54
10-12: 30
10-14: 7 234
11-11: 888
12-12: 878
"""


def _read(table: str) -> dict[str, tuple[int, int]]:
    found = {}
    for line in table.split("\n"):
        lengths, _, codes = line.partition(": ")
        for code in codes.split():
            least, _, most = lengths.partition("-")
            found[code] = (int(least), int(most))
    return found


NATIONAL_DIGITS = _read(_LENGTHS)  # calling code -> (least, most) digits of a national number


def calling_code(digits: str) -> str | None:
    """The calling code that an international number begins with; no code is the beginning of another."""
    return next((digits[:size] for size in (1, 2, 3) if digits[:size] in NATIONAL_DIGITS), None)
