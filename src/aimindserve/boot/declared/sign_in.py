"""Settings for signing in through somebody else: OpenID Connect and SAML."""

from dataclasses import dataclass

from aimindserve.boot.declared._setting import Form, Setting, Stage


def _text(english: str, chinese: str, *, secret: bool = False) -> str | None:
    setting = Setting(
        Form.TEXT, english, chinese, computed="none", secret=secret, stage=Stage.LATER_WARNS
    )
    field: str | None = setting.field()
    return field


def _url(english: str, chinese: str) -> str | None:
    setting = Setting(Form.URL, english, chinese, computed="none", stage=Stage.LATER_WARNS)
    field: str | None = setting.field()
    return field


@dataclass(frozen=True, slots=True, kw_only=True)
class SignIn:
    """Identity providers and how their attributes become users."""

    external_auth_name: str | None = _text("Attribute that is the user name.", "作为用户名的属性。")
    external_auth_full_name: str | None = _text(
        "Attribute that is the full name; `a+b` joins two with a space.",
        "作为全名的属性;`a+b` 表示以空格连接两个属性。",
    )
    external_auth_avatar_url: str | None = _text(
        "Attribute that is the picture's address.", "作为头像地址的属性。"
    )
    oidc_issuer: str | None = _url("Issuer of OpenID Connect.", "OpenID Connect 的签发者地址。")
    oidc_client_id: str | None = _text("This server's client id.", "本服务器的客户端 ID。")
    oidc_client_secret: str | None = _text(
        "This server's client secret.", "本服务器的客户端密钥。", secret=True
    )
    oidc_redirect_uri: str | None = _url(
        "Where the provider sends people back to.", "身份提供方回调的地址。"
    )
    saml_idp_server_url: str | None = _url(
        "Sign-in address of the SAML provider.", "SAML 身份提供方的登录地址。"
    )
    saml_idp_entity_id: str | None = _text(
        "Entity id of the SAML provider.", "SAML 身份提供方的实体 ID。"
    )
    saml_idp_x509_cert: str | None = _text(
        "Certificate of the SAML provider.", "SAML 身份提供方的证书。"
    )
    saml_sp_entity_id: str | None = _text(
        "Entity id of this server.", "本服务器作为 SAML 服务方的实体 ID。"
    )
    saml_sp_acs_url: str | None = _url("Where SAML answers are sent to.", "接收 SAML 应答的地址。")
    saml_sp_x509_cert: str | None = _text(
        "Certificate of this server for SAML.", "本服务器的 SAML 证书。"
    )
    saml_sp_private_key: str | None = _text(
        "Private key of this server for SAML.", "本服务器的 SAML 私钥。", secret=True
    )
    saml_sp_attribute_prefix: str | None = _text(
        "Prefix tried first when attributes are read.", "读取属性时优先尝试的前缀。"
    )
    saml_security: str = Setting(
        Form.OBJECT,
        "Security options for SAML, as JSON.",
        "SAML 安全选项(JSON)。",
        stage=Stage.LATER_WARNS,
    ).field("{}")
