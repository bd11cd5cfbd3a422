"""Templates."""

from __future__ import annotations

from pycontw_assets.sandbox.klaviyo import schema
from pycontw_assets.sandbox.klaviyo.account import MOST_TEMPLATES, MailAccount, Template
from pycontw_assets.sandbox.klaviyo.errors import bad_body, not_found
from pycontw_assets.sandbox.klaviyo.query import Accepts
from pycontw_assets.sandbox.klaviyo.request import RANGES, Request, Routes
from pycontw_assets.sandbox.wire import Reply


class TemplateApi:
    """Endpoints about templates."""

    def __init__(self, account: MailAccount) -> None:
        self._account = account
        self._context = account.context

    def get_templates(self, request: Request) -> Reply:
        delay = self._account.switches.template_delay if request.query.filters_on("name") else 0
        templates = [
            template
            for template in self._account.templates.values()
            if not template.is_copy and self._account.shows(template.created, delay) and request.keeps(template)
        ]
        return request.page_of(templates, request.views.template)

    def create_template(self, request: Request) -> Reply:
        attributes = request.body(schema.Body[schema.TemplateCreate]).data.attributes
        if sum(not template.is_copy for template in self._account.templates.values()) >= MOST_TEMPLATES:
            raise bad_body("The account has reached its limit of 1000 templates.", "/data")
        template = self._account.add_template(
            attributes.name,
            editor_type=attributes.editor_type,
            html=attributes.html,
            text=attributes.text,
            amp=attributes.amp,
        )
        return request.single(request.views.template(template), 201)

    def get_template(self, request: Request, identity: str) -> Reply:
        return request.single(request.views.template(find_template(self._account, identity)))

    def update_template(self, request: Request, identity: str) -> Reply:
        template = find_template(self._account, identity)
        changes = request.body(schema.Body[schema.TemplateUpdate], identity).data.attributes
        for name, value in changes.model_dump(exclude_unset=True, exclude_none=True).items():
            setattr(template, name, value)
        template.updated = self._context.now()
        return request.single(request.views.template(template))

    def delete_template(self, request: Request, identity: str) -> Reply:
        del self._account.templates[find_template(self._account, identity).id]
        return Reply(204)


def find_template(account: MailAccount, identity: str) -> Template:
    if (template := account.templates.get(identity)) is None:
        raise not_found("template", identity)
    return template


ROUTES: Routes = {
    ("GET", "/api/templates"): (
        TemplateApi.get_templates,
        Accepts(
            fields=("template",),
            filters={
                "id": ("any", "equals"),
                "name": ("any", "contains", "equals"),
                "created": RANGES,
                "updated": RANGES,
            },
            sorts=("created", "id", "name", "updated"),
            page_maximum=10,
        ),
    ),
    ("POST", "/api/templates"): (TemplateApi.create_template, Accepts(fields=("template",))),
    ("GET", "/api/templates/{id}"): (TemplateApi.get_template, Accepts(fields=("template",))),
    ("PATCH", "/api/templates/{id}"): (TemplateApi.update_template, Accepts(fields=("template",))),
    ("DELETE", "/api/templates/{id}"): (TemplateApi.delete_template, Accepts()),
}
