"""Rules of tubes and lines."""

from voxmix.texts.labels.rules import LabelRule

TUBE_RULES: tuple[LabelRule, ...] = tuple(
    LabelRule(name=name, kind="tube", words=words, excludes=excludes, includes=includes)
    for name, words, excludes, includes in (
        ("endotracheal_tube", ("endotracheal tube*", "endotracheal", "ET tube*", "ETT", "intubated", "tracheal tube*"), ("endotracheal (cuff leak)",), ()),
        ("tracheostomy", ("tracheostomy*", "trach tube", "tracheotomy tube*"), ("prior tracheostomy",), ()),
        ("nasogastric_tube", ("(nasogastric|orogastric|enteric|nasoenteric|feeding|gastric|nasojejunal|dobbhoff|dobhoff|NG|OG) (feeding )?tube*", "NGT", "OGT", "dobbhoff", "dobhoff"), (), ()),
        ("central_line", ("central (venous )?(catheter*|line*|access)", "CVC", "CVL", "venous catheter*", "(jugular|subclavian|IJ|femoral) ... (catheter*|line*)"),
         (), ("picc", "port", "dialysis_catheter")),
        ("picc", ("PICC*", "peripherally inserted central (venous )?catheter*"), (), ()),
        ("port", ("port a cath*", "portacath*", "mediport*", "infusaport", "chest port*", "port catheter*", "(power|infusion|subclavian|venous|chest wall|access) port*", "port"), ("side port*",), ()),
        ("dialysis_catheter", ("(dialysis|hemodialysis) catheter*", "permcath*", "vascath*", "dialysis line*"), (), ()),
        ("swan_ganz", ("swan ganz", "pulmonary (artery|arterial) catheter*", "PA catheter*"), (), ()),
        ("chest_tube", ("chest tube*", "thoracostomy tube*", "pleural (drain*|catheter*|tube*)", "thoracostomy", "pigtail", "pigtail (catheter*|drain*)", "chest drain*"), (), ()),
        ("pacemaker", ("pacemaker*", "pacer*", "cardiac device*", "AICD", "ICD", "defibrillator*", "pacing (lead*|device*|wire*)", "pacemaker/AICD", "(dual|single|triple) (lead|chamber) ... (device*|generator)", "cardiac generator", "implantable cardiac device*"), (), ()),
        ("balloon_pump", ("(intra aortic|intraaortic|aortic) balloon (pump*|counterpulsation)", "IABP", "balloon pump"), (), ()),
        ("sternal_wires", ("(sternal|sternotomy|mediastinal) (wire*|suture*|clip*)", "(median )?sternotom*"), (), ()),
    )
)  # fmt: skip
"""Twelve tubes, lines and devices."""
