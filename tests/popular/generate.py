"""Writes the list of popular package names that the checks compare new dependencies with.

    python3 tests/popular/generate.py > src/changeset/checks/dependencies/popular.txt

Sources, each by name and version:
- the name lists that the PyPI package guarddog (Apache-2.0) ships, for npm, PyPI, Go and RubyGems: most used first but for RubyGems;
- Debian's package index as apt has it, for Cargo: crates by the number of Debian packages that build on them;
- the names written below, for Composer, Maven and NuGet, of which neither source has a list.

A less used name that would be taken for a popular one stands in the section "known": it is no look-alike. So do the crates
of this repository's own Cargo.lock.
"""

import collections
import json
import pathlib
import re
import subprocess
import sys
import tempfile
import zipfile

GUARDDOG = "guarddog==3.2.0"
POPULAR_MAX = 1000
NAME_CHARS_MIN = 5

BY_HAND = {
    "composer": """
        composer/composer doctrine/dbal doctrine/orm friendsofphp/php-cs-fixer guzzlehttp/guzzle guzzlehttp/psr7
        laravel/framework league/flysystem mockery/mockery monolog/monolog nesbot/carbon nikic/php-parser phpoffice/phpspreadsheet
        phpstan/phpstan phpunit/phpunit predis/predis psr/container psr/log ramsey/uuid sebastian/diff squizlabs/php_codesniffer
        symfony/console symfony/http-kernel symfony/process symfony/yaml twig/twig vlucas/phpdotenv webmozart/assert
        """,
    "maven": """
        ch.qos.logback:logback-classic com.fasterxml.jackson.core:jackson-databind com.google.code.gson:gson
        com.google.guava:guava com.h2database:h2 com.squareup.okhttp3:okhttp com.zaxxer:hikaricp commons-io:commons-io
        commons-codec:commons-codec io.netty:netty-all jakarta.persistence:jakarta.persistence-api junit:junit
        mysql:mysql-connector-java org.apache.commons:commons-lang3 org.apache.httpcomponents:httpclient
        org.apache.logging.log4j:log4j-core org.assertj:assertj-core org.hibernate:hibernate-core
        org.junit.jupiter:junit-jupiter org.mockito:mockito-core org.postgresql:postgresql org.projectlombok:lombok
        org.slf4j:slf4j-api org.springframework.boot:spring-boot-starter org.springframework:spring-core org.yaml:snakeyaml
        """,
    "nuget": """
        automapper awssdk.core castle.core coverlet.collector dapper entityframework fluentassertions fluentvalidation
        google.protobuf grpc.net.client hangfire.core mediatr microsoft.data.sqlclient microsoft.entityframeworkcore
        microsoft.extensions.logging microsoft.net.test.sdk moq newtonsoft.json npgsql nsubstitute nunit polly quartz
        rabbitmq.client restsharp serilog stackexchange.redis swashbuckle.aspnetcore system.text.json xunit
        """,
}


def normal(ecosystem, name):
    """As the checks compare names: see `normal` in popular.rs."""
    name = name.lower()
    if ecosystem in ("cargo", "pypi"):
        name = re.sub(r"[_.]" if ecosystem == "pypi" else "_", "-", name)
    if ecosystem == "go":
        name = re.sub(r"[/.]v[0-9]+$", "", name)
    return name


def guarddog():
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "-d", folder, GUARDDOG]
        subprocess.run(command, check=True)
        (wheel,) = pathlib.Path(folder).glob("*.whl")
        with zipfile.ZipFile(wheel) as archive:
            place = "guarddog/analyzer/metadata/resources/top_{}_packages.json"
            for ecosystem in ("npm", "pypi", "go", "rubygems"):
                yield ecosystem, json.loads(archive.read(place.format(ecosystem)))["packages"]


def debian():
    """Crates of Debian, those with the most dependants first."""
    index = subprocess.run(["apt-cache", "dumpavail"], check=True, capture_output=True, text=True).stdout
    counts = collections.Counter()
    crate = re.compile(r"librust-([a-z0-9+.-]+?)(?:-[0-9]+(?:\.[0-9]+)*)?(?:\+[a-z0-9.+-]+)?-dev\b")
    for package in index.split("\n\n"):
        fields = dict(re.findall(r"^([A-Za-z-]+): (.*)$", package, re.M))
        own = crate.fullmatch(fields.get("Package", ""))
        if own:
            counts[own[1]] += 0
            counts.update(set(crate.findall(fields.get("Depends", ""))) - {own[1]})
    return [name for name, _ in sorted(counts.items(), key=lambda item: (-item[1], item[0]))]


def is_near(one, other):
    """As `is_near` in popular.rs."""
    same = next((at for at, (a, b) in enumerate(zip(one, other)) if a != b), min(len(one), len(other)))
    one, other = one[same:], other[same:]
    if not one or not other:
        return len(one) + len(other) == 1
    digits = one[0].isdigit() and other[0].isdigit()
    swapped = len(one) > 1 and len(other) > 1 and one[:2] == other[1::-1] and one[2:] == other[2:]
    return (one[1:] == other[1:] and not digits) or one[1:] == other or one == other[1:] or swapped


def without_one(name):
    return {name} | {name[:at] + name[at + 1 :] for at in range(len(name))}


def sections(ecosystem, names):
    names = list(dict.fromkeys(normal(ecosystem, name) for name in names))
    names = [name for name in names if len(name) >= NAME_CHARS_MIN and name.isascii()]
    popular = names[:POPULAR_MAX]
    index = collections.defaultdict(set)
    for name in popular:
        for key in without_one(name):
            index[key].add(name)
    known = []
    for name in names[POPULAR_MAX:]:
        candidates = set().union(*(index.get(key, set()) for key in without_one(name)))
        if any(is_near(name, candidate) for candidate in candidates):
            known.append(name)
    return sorted(popular), sorted(known)


def main():
    lists = dict(guarddog())
    own = re.findall(r'^name = "(.*)"$', pathlib.Path("Cargo.lock").read_text(), re.M)
    lists["cargo"] = debian() + sorted(own)
    for ecosystem, names in BY_HAND.items():
        lists[ecosystem] = names.split()
    print("# Written by tests/popular/generate.py; do not edit. Names only, sorted.")
    print(f"# npm, pypi, go, rubygems: {GUARDDOG} from PyPI (Apache-2.0, Datadog). cargo: Debian's package index. Others: by hand.")
    for ecosystem in sorted(lists):
        popular, known = sections(ecosystem, lists[ecosystem])
        for title, names in ((ecosystem, popular), (f"{ecosystem} known", known)):
            if names:
                print(f"[{title}]")
                print("\n".join(names))


main()
