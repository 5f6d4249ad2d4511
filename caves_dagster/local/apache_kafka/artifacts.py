"""Java, Maven, and the class path of the Kafka that `kafka/pom.xml` names."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
from pathlib import Path
from xml.etree import ElementTree

import filelock

from caves_dagster.errors import PlatformError
from caves_dagster.settings import PROJECT_ROOT

POM = PROJECT_ROOT / "kafka" / "pom.xml"
LOGGING = PROJECT_ROOT / "kafka" / "log4j2.properties"
_OLDEST_JAVA = 17
_RESOLVE_SECONDS = 600
_LINES_QUOTED = 6


def version() -> str:
    """Kafka's version, as the pom pins it."""
    namespace = {"m": "http://maven.apache.org/POM/4.0.0"}
    found = ElementTree.parse(POM).findtext(
        ".//m:dependency[m:artifactId='kafka_2.13']/m:version", "", namespace
    )
    return found or "?"


def missing(cache: Path) -> str:
    """What this machine lacks to run Kafka, as one line; "" when nothing is missing."""
    java = shutil.which("java")
    if java is None:
        return f"Apache Kafka needs Java {_OLDEST_JAVA} or newer, and there is no `java` on the PATH."
    major = _java_version(java)
    if major < _OLDEST_JAVA:
        return f"Apache Kafka needs Java {_OLDEST_JAVA} or newer; {java} is version {major}."
    if _cached(cache) is None and shutil.which("mvn") is None:
        return "Apache Kafka is resolved by Maven, and there is no `mvn` on the PATH."
    return ""


def is_resolved(cache: Path) -> bool:
    """Whether the class path is known and its jars are there."""
    return _cached(cache) is not None


def class_path(cache: Path) -> str:
    """The class path, resolved by Maven when this pom is seen for the first time.

    Args:
        cache: folder that remembers it.

    Raises:
        PlatformError: Java or Maven is missing, or Maven failed; the end of what it said is quoted.
    """
    if problem := missing(cache):
        raise PlatformError(problem, "Install a JDK and Maven, or use the embedded broker.")
    cache.mkdir(parents=True, exist_ok=True)
    with filelock.FileLock(cache / "kafka.lock", timeout=_RESOLVE_SECONDS):
        return _cached(cache) or _resolve(cache)


def class_path_file(cache: Path) -> Path:
    """Where `class_path` remembers it."""
    return cache / f"kafka-{hashlib.sha256(POM.read_bytes()).hexdigest()[:12]}.classpath"


def _cached(cache: Path) -> str | None:
    try:
        found = class_path_file(cache).read_text(encoding="utf-8").strip()
    except OSError:
        return None
    jars = found.split(os.pathsep)
    return found if found and all(Path(jar).is_file() for jar in jars) else None


def _resolve(cache: Path) -> str:
    draft = class_path_file(cache).with_suffix(".draft")
    command = ["mvn", "--batch-mode", "--quiet", "--file", str(POM), "dependency:build-classpath"]
    command += [f"-Dmdep.outputFile={draft}", "-Dmdep.includeScope=runtime"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_RESOLVE_SECONDS, check=False)
    except subprocess.TimeoutExpired as error:
        raise PlatformError(f"Maven did not resolve {POM} within {_RESOLVE_SECONDS} s.") from error
    if done.returncode or not draft.is_file():
        lines = (done.stdout + done.stderr).strip().splitlines()[:_LINES_QUOTED]
        said = "\n".join(f"  {line}" for line in lines)
        raise PlatformError(
            f"Maven could not resolve {POM}. It said:\n{said}\n",
            "The first start needs Maven Central, or a mirror named in ~/.m2/settings.xml.",
        )
    draft.replace(class_path_file(cache))
    return class_path_file(cache).read_text(encoding="utf-8").strip()


def _java_version(java: str) -> int:
    """The major version; 0 where it cannot be told."""
    try:
        done = subprocess.run([java, "-version"], capture_output=True, text=True, timeout=30, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return 0
    # "1.8.0_292" is version 8, "17.0.2" is 17.
    found = re.search(r'version "(?:1\.)?(\d+)', done.stderr + done.stdout)
    return int(found.group(1)) if found else 0
