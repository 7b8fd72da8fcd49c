"""The types of problems (RFC 9457): what happened and what to do now, for each. Pure.

``type`` of a problem is ``/problems/NAME``. Every service serves that page itself (``shared.http.reference``), and
the site's page of errors is made from the same texts.
"""
