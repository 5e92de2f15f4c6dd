"""The rules that come with voxmix: 29 findings, 12 tubes and lines, and what denies or doubts them."""

from voxmix.texts.labels.findings import FINDING_RULES
from voxmix.texts.labels.rules import Cue, Rules
from voxmix.texts.labels.tubes import TUBE_RULES

CUES: dict[Cue, tuple[str, ...]] = {
    "deny": (
        "no", "not", "without", "nor", "neither", "none", "never", "negative for", "free of", "absence of", "absent", "lack of", "lacks",
        "clear of", "resolution of", "removal of", "rather than", "instead of", "ruled out", "rules out", "fail* to (show|reveal|demonstrate)",
        "(was|were|has been|have been|is|are)? no longer", "no definite", "no evidence of", "no longer",
    ),
    "deny_behind": (
        "(is|are|was|were)? not (definitely |clearly |well )?(seen|identified|present|evident|visualized|appreciated|noted|demonstrated|detected|found|visible|apparent|observed)",
        "(has|have)? (completely |now |since |nearly )?resolved", "no longer (seen|present|visible|evident|identified|visualized|appreciated|noted)?",
        "(is|are) absent", "(has|have) been removed", "(has|have) cleared", "(is|are)? ruled out", "(is|are)? excluded", "(is|are) unlikely", "removed",
        "(has|have) disappeared",
    ),
    "doubt": (
        "possib*", "probab*", "may (also |well )?(represent|reflect|be|relate|indicate|suggest|have|correspond)", "may", "might", "could", "can be seen with", "suspicious for",
        "suspicion (of|for)", "suspected", "suspect", "question*", "concern* for", "cannot (entirely |completely )?(exclude|rule out)", "can not exclude",
        "(does|do) not exclude", "not exclude*", "equivocal", "differential (diagnosis)?", "consider*", "compatible with possible", "if",
        "worrisome for", "rule out", "suggest*", "perhaps", "difficult to exclude", "potential*",
    ),
    "doubt_behind": (
        "(cannot|can not|could not|not) be (entirely |completely |totally )?(excluded|ruled out)", "(is|are) not (entirely |completely )?excluded", "not excluded",
        "(is|are) suspected", "(is|are) (possible|questioned|questionable|considered|a consideration)", "(is|are) difficult to exclude",
        "would be difficult to exclude", "(should|could) be considered",
    ),
    "both_doubt": ("versus", "vs"),
    "keep": (
        "no (significant |interval |appreciable |substantial |definite |acute |new )*(change|changes|increase|decrease|improvement|worsening|progression) (in|of)?",
        "not (significantly |substantially )?(changed|increased|decreased|improved|worsened)", "without (significant |interval )*(change|increase|decrease)", "not only",
        "no (significant |interval )*change*", "not significantly changed",
    ),
    "stop": (
        "but", "however", "although", "though", "except (for)?", "apart from", "aside from", "other than", "besides", "yet", "whereas", "while", "otherwise",
        "there (is|are|has|have)", "secondary to", "due to", "related to", "because of", "which (is|are)", "since",
        "(the )?(heart|heart size|(cardiac|cardiomediastinal|mediastinal) (silhouette|contour*)|mediastinum|lungs|bones|osseous structures) (is|are|appear*)", "(is|are) (again )?(present|noted|seen|stable|unchanged|normal)",
        "and (mild|moderate|severe|small|large|stable|unchanged|a)",
    ),
    "aside": (
        "history of", "evaluat* for", "assess* for", "clinical concern (of|for)", "recommend*", "correlat* ... for", "to identify", "(in|for) detecti*", "sensitive (in|for)", "prior history", "indication", "in the setting of", "risk of",
    ),
}  # fmt: skip
"""Words that change what is said of a label, by what they do (:attr:`Rules.cues`)."""

DEFAULT_RULES = Rules(labels=(*FINDING_RULES, *TUBE_RULES), cues=CUES)
"""The labels of voxmix."""
