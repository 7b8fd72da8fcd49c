"""The developer portal: a page of static files, and what it asks beside the registration.

In: the registration token of an application (RFC 7592). Out: ``/portal/…`` and the routes below
``/register/{client_id}`` that only its page needs.
"""
