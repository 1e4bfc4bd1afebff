/* The colours of every picture and page, each written once.
 *
 * Series: Okabe and Ito's set for colour-blind readers ("Color Universal Design", 2008) without
 * black and yellow, which vanish on a dark and on a white page; the order keeps neighbours apart
 * in lightness too. */
#ifndef DVIT_REPORT_PALETTE_H
#define DVIT_REPORT_PALETTE_H

/* Pictures (0xRRGGBBAA). */
#define DVIT_COLOUR_PAPER   0xffffffffu
#define DVIT_COLOUR_INK     0x1a1d21ffu
#define DVIT_COLOUR_MUTED   0x5f6772ffu
#define DVIT_COLOUR_GRID    0x00000022u
#define DVIT_COLOUR_OUTLINE 0xc4c9d0ffu
#define DVIT_COLOUR_RULE    0xe1e4e8ffu
#define DVIT_COLOUR_HATCH   0x1a1d2180u /* on dropped patches */
#define DVIT_COLOUR_UNSEEN  0x8a9099d9u /* over what no patch covers */
#define DVIT_COLOUR_FRAME   0x1a1d21ffu /* around what patches cover */

/* Series of charts, as CSS writes them. */
enum { DVIT_SERIES_COLOURS = 7 };
#define DVIT_SERIES_PALETTE                                                                        \
    {                                                                                              \
        "#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#8a8f98"                \
    }

/* What tells series of one colour apart: "d1" … of a line's group, then "wide". */
enum { DVIT_SERIES_DASHES = 5 };
#define DVIT_SERIES_DASH_RULES                                                                     \
    ".d1 path{stroke-dasharray:1 4}\n"                                                             \
    ".d2 path{stroke-dasharray:9 4 2 4;stroke-linecap:butt}\n"                                     \
    ".d3 path{stroke-dasharray:12 5;stroke-linecap:butt}\n"                                        \
    ".d4 path{stroke-dasharray:9 3 2 3 2 3;stroke-linecap:butt}\n"                                 \
    ".wide path{stroke-width:3.4}\n"

#endif
