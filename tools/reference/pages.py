"""Every generated part by its file name."""

from shared.access.guard import Access
from shared.contracts.asyncapi import document
from shared.contracts.topics import Topics
from tests.support.routes import bare
from tools.reference.command import command_part
from tools.reference.metrics import metrics_part
from tools.reference.openapi import api_part
from tools.reference.problems import problems_part
from tools.reference.settings import settings_part
from tools.reference.topics import topics_part


def parts() -> dict[str, str]:
    """The generated Markdown of each part. It reaches no server and depends on the code alone."""
    made = {f"api-{service}.md": api_part(app.openapi()) for service, app in bare(Access(open=True)).items()}
    return made | {
        "topics.md": topics_part(document(Topics("kith"), "")),
        "cli.md": command_part(),
        "metrics.md": metrics_part(),
        "settings.md": settings_part(),
        "problems.md": problems_part(),
    }
