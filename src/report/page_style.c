/* The style sheet of report pages: one column of text, charts side by side where there is room,
 * light and dark. Fonts are the reader's own; nothing is fetched. */
#include "report/page.h"
#include "report/palette.h"

static const char base_rules[] =
    ":root{color-scheme:light dark;--paper:#fff;--ink:#1a1d21;--muted:#5f6772;--rule:#e1e4e8;"
    "--card:#f7f8fa;--shade:#0000004d}\n"
    "@media(prefers-color-scheme:dark){:root{--paper:#14171a;--ink:#e6e8eb;--muted:#9aa3ad;"
    "--rule:#30363d;--card:#1b1f24;--shade:#ffffff4d}}\n"
    "*{box-sizing:border-box}\n"
    "body{margin:0;background:var(--paper);color:var(--ink);font:16px/1.5 system-ui,-apple-system,"
    "\"Segoe UI\",Roboto,\"DejaVu Sans\",sans-serif;-webkit-text-size-adjust:100%}\n"
    "main{max-width:78rem;margin:0 auto;padding:1.5rem 1rem 3rem}\n"
    "h1{font-size:1.7rem;line-height:1.2;margin:0 0 .2rem}\n"
    "h3{font-size:1rem;margin:1rem 0 .5rem}\n"
    "h2{font-size:1.2rem;margin:2.4rem 0 .8rem}\n"
    "h1,p,figcaption,summary,td,th,li{overflow-wrap:anywhere}\n"
    ".subtitle,.note{color:var(--muted);margin:.2rem 0 1rem}\n"
    ".note{font-size:.9rem}\n";

static const char table_rules[] =
    /* Shadows at the sides where there is more, as the content covers its own ones at its ends. */
    ".scroll{overflow-x:auto;margin:0 0 1.4rem;scrollbar-width:thin;padding-bottom:.3rem;"
    "background:linear-gradient(to right,var(--paper) 40%,transparent) left/2.5rem 100% no-repeat "
    "local,linear-gradient(to left,var(--paper) 40%,transparent) right/2.5rem 100% no-repeat local,"
    "linear-gradient(to right,var(--shade),transparent) left/1rem 100% no-repeat scroll,"
    "linear-gradient(to left,var(--shade),transparent) right/1rem 100% no-repeat scroll}\n"
    ".scroll::-webkit-scrollbar{height:8px}\n"
    ".scroll::-webkit-scrollbar-thumb{background:var(--muted);border-radius:4px}\n"
    ".scroll:focus-visible{outline:2px solid var(--muted)}\n"
    "table{border-collapse:collapse;font-size:.92rem;font-variant-numeric:tabular-nums}\n"
    "caption{text-align:left;font-weight:600;padding:0 0 .4rem;white-space:nowrap}\n"
    "th,td{padding:.32rem .55rem;text-align:left;vertical-align:top;"
    "border-bottom:1px solid var(--rule)}\n"
    "thead th,.scroll>table:not(.settings) td{white-space:nowrap;overflow-wrap:normal}\n"
    "th.right,td.right{text-align:right}\n"
    "th.centre,td.centre{text-align:center}\n"
    "tr>:first-child{padding-left:0}\n"
    "tr>:last-child{padding-right:0}\n"
    "thead th{color:var(--muted);font-weight:500;border-bottom:2px solid var(--rule)}\n"
    ".settings th{color:var(--muted);font-weight:500;white-space:nowrap}\n"
    ".settings .settings{margin:-.32rem 0}\n"
    ".settings .settings tr:last-child>*{border-bottom:0}\n"
    ".settings td{min-width:8rem}\n"
    ".settings thead th{font-weight:600;color:var(--ink)}\n"
    "details{border:1px solid var(--rule);border-radius:8px;padding:.6rem .9rem;margin:0 0 .7rem}\n"
    "summary{cursor:pointer;font-weight:600}\n"
    "details>.scroll{margin:.7rem 0 0}\n";

static const char figure_rules[] =
    "figure{margin:0}\n"
    ".chart .note{margin:.4rem 0 0}\n"
    ".charts{display:grid;gap:1rem;grid-template-columns:repeat(auto-fill,minmax(min(100%,21rem),"
    "1fr))}\n"
    ".chart{background:var(--card);border:1px solid var(--rule);border-radius:8px;"
    "padding:.8rem .9rem .7rem}\n"
    ".chart figcaption{font-weight:600;margin:0 0 .5rem}\n"
    ".chart>svg{display:block;width:100%;height:auto;font:13px system-ui,-apple-system,"
    "\"Segoe UI\",Roboto,\"DejaVu Sans\",sans-serif;font-variant-numeric:tabular-nums}\n"
    "svg text{fill:var(--muted)}\n"
    "svg .end{text-anchor:end}\n"
    "svg .middle{text-anchor:middle}\n"
    ".axis{stroke:var(--muted)}\n"
    ".grid{stroke:var(--rule)}\n"
    "path{fill:none;stroke:var(--c);stroke-width:1.8;stroke-linejoin:round;stroke-linecap:round}\n"
    "circle{fill:var(--c)}\n" DVIT_SERIES_DASH_RULES
    ".mark{stroke:var(--ink);stroke-dasharray:3 3}\n"
    "svg .name{fill:var(--ink)}\n"
    ".target path{stroke-dasharray:6 4;stroke-width:1.4;opacity:.75;stroke-linecap:butt}\n"
    ".legend{list-style:none;display:flex;flex-wrap:wrap;gap:.1rem 1.1rem;margin:.5rem 0 0;"
    "padding:0;font-size:.85rem;color:var(--muted)}\n"
    ".legend b{color:var(--ink);font-weight:600}\n"
    ".legend svg{vertical-align:middle}\n"
    /* Pictures hold text: where they do not fit they are scrolled, and not made illegible. */
    ".epochs{display:flex;flex-wrap:wrap;gap:.4rem 1.2rem}\n"
    ".picture{margin:0 0 1.4rem;max-width:100%;overflow-x:auto}\n"
    ".picture figcaption{position:sticky;left:0;color:var(--muted);font-size:.92rem;"
    "margin:.3rem 0 0}\n"
    ".picture "
    "img{display:block;max-width:max(100%,44rem);height:auto;border-radius:6px;background:#fff}\n"
    "@media print{details{break-inside:avoid}.chart{break-inside:avoid}}\n";

void dvit_page_add_style(struct dvit_markup *markup)
{
    static const char *const colours[DVIT_SERIES_COLOURS] = DVIT_SERIES_PALETTE;
    dvit_markup_add(markup, base_rules);
    dvit_markup_add(markup, table_rules);
    dvit_markup_add(markup, figure_rules);
    for (int i = 0; i < DVIT_SERIES_COLOURS; i++)
        dvit_markup_format(markup, ".s%d{--c:%s}\n", i, colours[i]);
}
