"""How the overview looks, and the words that it explains."""

from __future__ import annotations

from typing import Final

STYLE: Final = """
:root{--ink:#1f2933;--muted:#616e7c;--line:#e4e7eb;--soft:#f5f7fa;--blue:#2a6f97;--good:#2f855a;--bad:#c53030;
--even:#616e7c;--busy:#b7791f}
*{box-sizing:border-box}
body{margin:0;background:var(--soft);color:var(--ink);
font:15px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,"Helvetica Neue",Arial,sans-serif}
main{max-width:1080px;margin:0 auto;padding:28px 20px 48px}
h1{margin:0;font-size:28px;letter-spacing:-.5px}h2{margin:0 0 10px;font-size:17px}
header{margin-bottom:22px}header p{margin:4px 0 0}
section{background:#fff;border:1px solid var(--line);border-radius:10px;padding:18px 20px;margin-bottom:18px}
.cards{display:grid;grid-template-columns:repeat(auto-fit,minmax(250px,1fr));gap:16px;background:none;border:0;
padding:0}
.cards>div{background:#fff;border:1px solid var(--line);border-radius:10px;padding:16px 18px}
.cards h2{color:var(--muted);font-size:13px;font-weight:600;text-transform:uppercase;letter-spacing:.6px}
.big{margin:0 0 4px;font-size:25px;font-weight:650;color:var(--blue)}.cards p{margin:0 0 2px}
.muted{color:var(--muted)}code{background:var(--soft);padding:1px 5px;border-radius:4px;font-size:13px}
.wide{overflow-x:auto}table{border-collapse:collapse;width:100%;font-size:14px}
th{text-align:left;color:var(--muted);font-weight:600;border-bottom:1px solid var(--line);padding:6px 14px 6px
0;white-space:nowrap}
td{border-bottom:1px solid var(--line);padding:7px 14px 7px 0;vertical-align:top}
tr:last-child td{border-bottom:0}td:first-child{white-space:nowrap}
a{color:var(--blue);text-decoration:none}a:hover{text-decoration:underline}
.badge{display:inline-block;padding:1px 9px;border-radius:99px;font-size:12.5px;font-weight:600;color:#fff;
background:var(--even);white-space:nowrap;margin-right:4px}
.good{background:var(--good)}.bad{background:var(--bad)}.busy{background:var(--busy)}
.chart{width:100%;height:auto;display:block}.grid{stroke:var(--line)}.tick{fill:var(--muted);font-size:11.5px}
.legend{margin:6px 0 0;font-size:13.5px;color:var(--muted)}.legend span{margin-right:20px}
.legend i{display:inline-block;width:18px;height:4px;border-radius:2px;margin-right:7px;vertical-align:middle}
dl{display:grid;grid-template-columns:max-content 1fr;gap:6px 18px;margin:0}dt{font-weight:600}dd{margin:0}
@media(max-width:600px){dl{grid-template-columns:1fr}dd{margin-bottom:8px}}
footer{font-size:13.5px}
"""
GLOSSARY: Final = """<section><h2>Words</h2><dl>
<dt>champion</dt><dd>the model whose forecasts planners get</dd>
<dt>retrain</dt><dd>a job that makes a new model from newer demand, tests it, and lets it take over only where
it is better</dd>
<dt>promoted, kept back</dt><dd>the new model took over, or the old one stayed; the reason stands
beside it</dd>
<dt>backtest</dt><dd>a test on past days: a model forecasts them without having seen them</dd>
<dt>error (WQL)</dt><dd>how far forecasts, with all their what-ifs, were from what was sold, as a share of it;
0 is perfect, lower is better</dd>
<dt>seasonal naive</dt><dd>the simplest forecast there is: the demand of the same weekday (or hour, or
week) again</dd>
<dt>surge, peak</dt><dd>a day on which a product sells more than three times what it usually does</dd>
</dl></section>"""
