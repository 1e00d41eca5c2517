"""One text of each kind with its value in brackets; every number is made up or from a manual."""

from __future__ import annotations

PERSONAL = (
    ("iban", "please pay to «DE44 5001 0517 5407 3249 31» today"),
    ("iban", "my account «GB29NWBK60161331926819» is new"),
    ("iban", "my account «DE44 50 01 05 17 54 07 32 49 31», in pairs"),
    ("iban", "konto nl: «nl91abna0417164300», danke"),
    ("payment card", "charge «4111 1111 1111 1111» again"),
    ("payment card", "«5500-0000-0000-0004» does not work"),
    ("payment card", "my maestro card «6304000000000000» is lost"),
    ("payment card", "my card «4111 1111 1111 1111» 12/27 does not work"),
    ("payment card", "it was 2 «5500-0000-0000-0004» 123 that I used"),
    ("payment card", "amex «3782 822463 10005» 09 25 is gone"),
    ("payment card", "visa «4111111111111111» 123, thank you"),
    ("payment card", "card no.«4111 1111 1111 1111», please"),
    ("phone", "Tel.«0511-7596216», danke"),
    ("phone", "ring «+49 30 901820» after five"),
    ("phone", "«+491701234567» 2024-05-12 incoming, two minutes"),
    ("phone", "my number is «555 0134 77» at work"),
    ("phone", "«(555) 012-3456» is the office"),
    ("phone", "fax «0511-7596216», thank you"),
    ("e-mail", "write to «jane.doe+claims@example.co.uk» please"),
    ("ip address", "blocked from «203.0.113.77» yesterday"),
    ("ip address", "it came from «2001:db8:85a3::8a2e:370:7334» twice"),
    ("url", "see «https://example.org/claims?id=7» for more"),
    ("url", "my page is «www.example.net/me», have a look"),
    ("url", "it lies at «ftp://example.org/claims/7» for a week"),
    ("national id", "SSN «536-22-1845» is mine"),
    ("national id", "his social security number «536 22 1845» is wrong"),
    ("national id", "BSN «111222333» klopt"),
    ("national id", "codice «RSSMRA85T10A562S» grazie"),
    ("national id", "AHV «756.9217.0769.85» steht oben"),
    ("national id", "NHS number «943 476 5919» on file"),
    ("national id", "mein DNI es «12345678Z» gracias"),
    ("national id", "NI number «AB 12 34 56 C» is hers"),
    ("date of birth", "I was born on «12 March 1980» in Ulm"),
    ("date of birth", "date of birth: «1980-03-12», insured since"),
    ("passport", "passport no. «123456789» expires"),
    ("driving licence", "driver's license «H123-4567-8901» was taken"),
    ("health record", "MRN: «00482915» admitted"),
)

SECRETS = (
    ("aws access key", "use «AKIAQ3EGRZ5JTWLPM2SX» for now"),
    ("github token", "token «ghp_9aB3dE5fG7hJ1kL2mN4pQ6rS8tU0vW1xY3z4» works"),
    ("model provider key", "export KEY=«sk-proj-Ab12Cd34Ef56Gh78Ij90Kl12» please"),
    ("jwt", "cookie «eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiI0MiIsIm4iOiJ4In0.c2lnbmF0dXJlLW9mLXRoaXM» ok"),
    ("password", "the password is «hunter2!xyz» and the user bob"),
    ("password", 'config: "db_password": "«correct horse 12 staple»", next'),
    ("password", "postgres://bob:«pa55-w0rd»@db.example/claims is it"),
    ("password", "redis://:«pa55-w0rd»@cache.example:6379/0 is it"),
    ("password", 'Das Passwort ist "«blaue Katze am Fenster 7»", bitte'),
    ("password", "the password was now «hunter2!xyz» and no longer"),
    ("password", '"SessionToken": "«' + "IQoJb3JpZ2luX2VjE+" * 30 + '»", "Expiration": "soon"'),
    ("password", "aws_session_token=«" + "FwoGZXIvYXdzEJr4q" * 30 + "» is set"),
    ("stripe key", "WEBHOOK=«whsec_+a/b3K9x2LmP0qRs7TuV4wXyZ1aB3cD5eF6g» here"),
    ("access token", "Authorization: Bearer «abcdef0123456789ABCDEF01» was sent"),
    (
        "private key",
        "here: «-----BEGIN PRIVATE KEY-----\nMIIEvQIBADANBgkqhkiG9w0BAQEF\n-----END PRIVATE KEY-----» ok",
    ),
)


def parted(marked: str) -> tuple[str, int, int]:
    """The text without its brackets, and where the value stands."""
    start, end = marked.index("«"), marked.index("»") - 1
    return marked.replace("«", "").replace("»", ""), start, end
