"""Rules of findings."""

from voxmix.texts.labels.rules import LabelRule

_CLEAR = (
    "lungs (are|remain|appear)? (otherwise |grossly |both |well expanded and |normally inflated and )?clear*",
    "clear lungs",
    "lungs ... are clear",
)

FINDING_RULES: tuple[LabelRule, ...] = (
    LabelRule(
        name="atelectasis",
        words=("atelecta*", "subsegmental collapse", "lobe collapse", "volume loss", "lobar collapse", "collapse of", "collapsed lung"),
        normal=_CLEAR,
    ),
    LabelRule(
        name="cardiomegaly",
        words=(
            "cardiomegal*", "enlarged (heart|cardiac silhouette|cardiomediastinal silhouette|cardiac contour*|cardiac shadow)", "(heart|cardiac|cardiomediastinal) ... (is|are|appears|remains) ... (enlarged|increased|prominent)",
            "(cardiac|heart) enlargement", "enlargement of (the )?(heart|(cardiac|cardiomediastinal) (silhouette|contour*|shadow)|cardiac)", "heart size ... (enlarged|increased|large)", "(cardiac|cardiomediastinal) (silhouette|contour) ... enlarged",
            "heart ... enlarged", "enlarged heart*", "borderline heart size", "large heart",
        ),
        normal=(
            "(heart|cardiac|cardiomediastinal|cardiopericardial) ... (normal|unremarkable)", "normal (heart|cardiac|cardiomediastinal) (size|silhouette|contour*)", "normal heart", "heart ... within normal limits",
            "(heart|cardiac) ... (are|is|within) normal", "heart and mediastinum normal", "normal size heart", "(heart|heart size|cardiac silhouette|cardiomediastinal silhouette) (is|are|does not appear|appears)? ?not ... enlarged", "heart and mediastinum ... normal", "(heart|cardiac silhouette) ... nonenlarged", "nonenlarged cardi*",
        ),
    ),
    LabelRule(
        name="consolidation",
        words=(
            "consolidat*", "air ?space (disease|opacit*|process|consolidation|opacification|infiltrate*)", "infiltrate*", "infiltration*", "focal opacit*", "lung opacities",
            "lobe (opacit*|air space disease)", "air space",
        ),
        normal=_CLEAR,
    ),
    LabelRule(
        name="edema",
        words=(
            "edema", "oedema", "(pulmonary |vascular |venous )+congestion", "congestive (heart )?failure", "CHF", "fluid overload", "volume overload", "pulmonary venous hypertension", "congestion",
            "cardiac decompensation", "(pulmonary )?vascular* ... (engorge*|congest*|prominen*)", "engorge*",
        ),
        excludes=("soft tissue edema", "(pulmonary )?vascular engorgement ... normal", "(pulmonary )?vascular* (is|are|appear*) normal"),
        normal=(*_CLEAR, "pulmonary (vascularity|vasculature) ... (normal|unremarkable)", "normal pulmonary vascul*"),
    ),
    LabelRule(
        name="effusion",
        words=(
            "effusion*", "pleural fluid", "hydrothorax", "hemothorax", "hydropneumothorax", "(blunt*|obliterat*) ... costophrenic", "blunt* ... (CP angle*|sulc*)", "(costophrenic|CP) (angle*|sulc*) ... blunt*", "obscur* ... costophrenic (angle*|sulc*)",
        ),
        excludes=("pericardial effusion*", "joint effusion*"),
    ),
    LabelRule(name="emphysema", words=("emphysem*", "COPD", "chronic obstructive (pulmonary|lung) disease", "bulla*", "bullous", "bleb*"), excludes=("(subcutaneous|soft tissue|mediastinal) emphysema",)),
    LabelRule(
        name="fracture",
        words=("fracture*", "fx"),
        excludes=("fracture* may not be",),
        normal=("(bones|osseous structures|bony structures|bony thorax|ribs) ... intact",),
    ),
    LabelRule(name="granuloma", words=("granuloma*", "calcified (pulmonary |lung )?nodule*")),
    LabelRule(name="hiatal_hernia", words=("(hiatal|hiatus|diaphragmatic) hernia*", "hernia*")),
    LabelRule(
        name="hyperinflation",
        words=(
            "hyperinflat*", "hyperexpan*", "hyperaerat*", "hyperdisten*", "flattening of (the )?(bilateral |both )?(hemi)?diaphragm*", "flattened (hemi)?diaphragm*", "(hemi)?diaphragm* ... flatten*", "overinflat*", "overexpan*",
            "hyperlucen*", "overaerat*", "increased lung volumes", "large lung volumes",
        ),
    ),
    LabelRule(name="interstitial", words=("interstitial ... (marking*|prominence|opacit*|opacif*|thickening|disease|changes|pattern|lung disease|infiltrate*|process|densit*)", "prominent interstitium", "ILD", "interstitial and alveolar (opacit*|infiltrate*)", "reticular* ... (opacit*|marking*|pattern)", "interstitium", "reticulonodular"), excludes=("interstitial edema",)),
    LabelRule(
        name="low_volumes",
        words=("low (lung )?volumes", "low inspiratory volumes", "hypoinflat*", "(shallow|poor|low|decreased|reduced|suboptimal) inspirat*", "hypoventilat*", "(diminished|decreased|reduced|small|shallow) (lung|inspiratory) volume*", "lung volumes are (low|diminished|decreased)", "underinflat*", "hypoaerat*"),
    ),
    LabelRule(
        name="lymph_nodes",
        words=("lymphadenopathy", "adenopathy", "enlarged (hilar |mediastinal )?(lymph )?node*", "lymph node enlargement"),
    ),
    LabelRule(
        name="nodule",
        words=("nodul*", "mass", "masses", "masslike", "(lung|pulmonary) lesion*", "neoplasm*", "metasta*", "tumor*", "carcinoma"),
        excludes=("calcified (pulmonary |lung )?nodule*", "nipple shadow*", "reticulonodular", "body mass", "nodular hyperplasia"),
        normal=_CLEAR,
    ),
    LabelRule(
        name="opacity",
        words=("opacit*", "opacifi*", "densit*"),
        excludes=("bone densit*", "bony densit*"),
        normal=_CLEAR,
    ),
    LabelRule(name="pleural_thickening", words=("(pleural|apical|pleuroparenchymal) (thickening|plaque*|cap*)", "thickening of (the )?pleura*", "pleural ... thickening", "pleural plaque*"), excludes=("pleuroparenchymal scar*",)),
    LabelRule(name="pneumonia", words=("pneumoni*", "bronchopneumonia")),
    LabelRule(name="pneumothorax", words=("pneumothora*", "PTX", "hydropneumothorax"), excludes=()),
    LabelRule(name="pneumomediastinum", words=("pneumomediastin*", "mediastinal (air|emphysema|gas)")),
    LabelRule(name="free_air", words=("pneumoperiton*", "free (intraperitoneal |subdiaphragmatic |peritoneal )?(air|gas)", "(subdiaphragmatic|intraperitoneal) (free )?air")),
    LabelRule(name="raised_diaphragm", words=("elevat* (of )?(the )?(right|left|bilateral)? ?(hemi)?diaphragm*", "(hemi)?diaphragm* ... (elevat*|eventrat*)", "eventration*", "elevation of (the )?(right |left )?hemidiaphragm")),
    LabelRule(name="scar", words=("scar*", "fibro*", "cicatri*", "parenchymal band*"), excludes=("fibroglandular", "scapul*")),
    LabelRule(name="subcutaneous_emphysema", words=("(subcutaneous|soft tissue) (emphysema|air|gas)",)),
    LabelRule(
        name="degenerative_spine",
        words=(
            "degenerat*", "spondylo*", "osteophyt*", "(disc|disk) (space )?(narrowing|disease|height loss)", "DISH", "spurring", "hypertrophic (spur*|change*)", "osteoarthrit*",
        ),
        excludes=("degenerat* ... (shoulder*|acromioclavicular|glenohumeral|AC joint*)",),
    ),
    LabelRule(name="scoliosis", words=("scolio*", "(dextro|levo)(scolio*|curv*|convex*)", "curvature of (the )?(thoracic |thoracolumbar )?spine", "kyphoscolio*", "rotoscolio*")),
    LabelRule(name="osteopenia", words=("osteopen*", "osteopor*", "demineraliz*", "decreased (bone|bony) (mineralization|density)")),
    LabelRule(name="tortuous_aorta", words=("tortuo*", "ectati*", "(aorta|aortic) ... (tortuo*|ectati*|uncoil*|unfold*|elongat*)", "unfold*", "uncoil*")),
    LabelRule(
        name="atherosclerosis",
        words=("atherosclero*", "atheromat*", "arterioscler*", "(aorta|aortic|arch|vascular) ... calcifi*", "calcifi* ... (aorta|aortic|arch|vascular)", "calcific aorta", "aortic calcification*"),
        excludes=("calcified aortic valve",),
    ),
    LabelRule(
        name="wide_mediastinum",
        words=("mediastin* ... (widen*|enlarge*)", "widen* (of )?(the )?(superior )?mediastin*", "enlarged mediastin*"),
        normal=("mediastin* ... (normal|unremarkable)", "normal mediastin*"),
    ),
)  # fmt: skip
"""Twenty-nine findings of chest films."""
