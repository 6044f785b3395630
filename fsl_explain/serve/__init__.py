"""The workbench's server: one page in a browser that asks questions of decisions by similarity.

``frame`` builds an app around data and answers with sentences; ``access`` decides which requests are answered at all;
``desk`` lets one computation at a time use the network; ``why`` turns an explanation into what the page draws;
``episodes_app`` is the app of supports. The folder ``page`` holds the page itself: plain modules, nothing from
elsewhere. Needs the extra ``serve``.
"""
