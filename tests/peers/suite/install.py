"""Brings the peers here: Debian's packages, PyPI, npm, each by package name.

Everything is kept in the cache below the target directory. What cannot be had
raises Skip with the reason.
"""

import os
import pathlib
import shutil
import sys

from .harness import CACHE, Failed, Skip, once, run


def _quiet(command, seconds, why, cwd=None, env=None):
    try:
        result = run(command, seconds, cwd=cwd, env=env)
    except FileNotFoundError:
        raise Skip(f"{why}: no {command[0]} here") from None
    except Failed as error:
        raise Skip(f"{why}: {error}") from None
    if result.code != 0:
        last = (result.err or result.out).decode(errors="replace").strip().splitlines()
        raise Skip(f"{why}: {last[-1] if last else 'exit ' + str(result.code)}")
    return result


def _apt_env():
    return {**os.environ, "DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C"}


@once
def _apt_update():
    if os.geteuid() != 0:
        raise Skip("apt-get needs root")
    _quiet(["apt-get", "-q", "update"], 180, "apt-get update", env=_apt_env())


def _apt(command, seconds, why, cwd=None):
    """apt-get with the lists that are here, and once more with new ones."""
    try:
        return _quiet(command, seconds, why, cwd, _apt_env())
    except Skip:
        _apt_update()
        return _quiet(command, seconds, why, cwd, _apt_env())


@once
def system_tool(tool, package):
    """The path of a small tool, installed by apt-get where that is possible."""
    found = shutil.which(tool)
    if found:
        return found
    if os.geteuid() != 0:
        raise Skip(f"{tool} is not installed, and apt-get needs root")
    _apt(["apt-get", "-qq", "-y", "--no-install-recommends", "install", package], 240, f"apt-get install {package}")
    found = shutil.which(tool)
    if not found:
        raise Skip(f"{package} brought no {tool}")
    return found


@once
def debian_tree(name, packages):
    """A directory with the files of these packages and of the libraries they need.

    The packages are unpacked, not installed: those of Postfix and Exim
    conflict, and none of them is to touch the system. `name` names the tree;
    it is remade when the versions on offer differ from those unpacked.
    """
    if os.geteuid() != 0:
        raise Skip("needs root for a chroot")
    tree, marks = CACHE / name, CACHE / f"{name}.packages"
    if not shutil.which("apt-cache") or not shutil.which("dpkg-deb"):
        raise Skip("needs apt and dpkg of Debian")
    lists = pathlib.Path("/var/lib/apt/lists")
    if marks.is_file() and tree.is_dir() and lists.is_dir() and marks.stat().st_mtime > lists.stat().st_mtime:
        return tree  # nothing new is on offer
    try:
        wanted = _closure(packages)
    except Skip:
        _apt_update()
        wanted = _closure(packages)
    if marks.is_file() and marks.read_text().split() == wanted and tree.is_dir():
        marks.touch()
        return tree
    shutil.rmtree(tree, ignore_errors=True)
    marks.unlink(missing_ok=True)
    archives = CACHE / "deb"
    archives.mkdir(parents=True, exist_ok=True)
    _apt(
        ["apt-get", "-qq", "-o", "APT::Sandbox::User=root", "download", *wanted],
        240, f"apt-get download for {name}", archives,
    )
    tree.mkdir(parents=True)
    for item in wanted:
        package, _, version = item.partition("=")
        pattern = f"{package}_{version.replace(':', '%3a')}_*.deb"
        archive = next(iter(sorted(archives.glob(pattern))), None)
        if archive is None:
            raise Skip(f"no archive of {item} after apt-get download")
        _quiet(["dpkg-deb", "-x", archive, tree], 60, f"unpacking {archive.name}")
    marks.write_text("\n".join(wanted) + "\n")
    return tree


def _closure(packages):
    """`package=version` of these packages and of all libraries they need."""
    result = _quiet(
        ["apt-cache", "depends", "--recurse", "--important", *packages], 60, "apt-cache depends", env=_apt_env()
    )
    needs, current = {}, None
    for line in result.out.decode(errors="replace").splitlines():
        if line and line[0] not in " |<":
            current = needs.setdefault(line.strip(), [])
        elif "Depends: " in line and current is not None:
            current.append(line.rpartition(" ")[2])
    found, queue = set(), list(packages)
    while queue:
        package = queue.pop()
        if package not in found:
            found.add(package)
            queue += [need for need in needs.get(package, ()) if need.startswith("lib")]
    result = _quiet(
        ["apt-cache", "show", "--no-all-versions", *sorted(found)], 60, "apt-cache show", env=_apt_env()
    )
    wanted = {}
    for paragraph in result.out.decode(errors="replace").split("\n\n"):
        fields = dict(line.split(": ", 1) for line in paragraph.splitlines() if ": " in line and line[0] not in " \t")
        if "Package" in fields:
            wanted.setdefault(fields["Package"], fields["Version"])
    if missing := found - set(wanted):
        raise Skip(f"no package {min(missing)} on offer")
    return sorted(f"{package}={version}" for package, version in wanted.items())


@once
def pypi(requirement, module):
    """A directory for PYTHONPATH that holds one package of PyPI."""
    place = CACHE / "python" / requirement.replace("==", "-")
    if not (place / module).is_dir():
        shutil.rmtree(place, ignore_errors=True)
        place.parent.mkdir(parents=True, exist_ok=True)
        _quiet(
            [sys.executable, "-m", "pip", "install", "--quiet", "--target", place, requirement],
            180, f"pip install {requirement}",
        )
    return place


@once
def npm(requirement):
    """A directory whose node_modules holds one package of npm; also node's path."""
    node = shutil.which("node")
    if not node or not shutil.which("npm"):
        raise Skip("no node and npm here")
    package, _, _version = requirement.rpartition("@")
    place = CACHE / "npm" / requirement
    if not (place / "node_modules" / package / "package.json").is_file():
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir(parents=True)
        (place / "package.json").write_text('{"private": true}\n')
        _quiet(
            ["npm", "install", "--silent", "--no-audit", "--no-fund", "--ignore-scripts", requirement],
            180, f"npm install {requirement}", cwd=place,
        )
    return place, node
