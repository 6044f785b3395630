"""The formulas that make a class activation map of activation maps and the gradient of a score at them, by name.

They serve scores of a decision and logits of a class, at the last maps and at earlier ones.
"""

from fsl_explain.explainers.methods.cellwise_cam import hirescam, layercam
from fsl_explain.explainers.methods.grad_cam import grad_cam
from fsl_explain.explainers.methods.grad_cam_plus_plus import grad_cam_plus_plus
from fsl_explain.explainers.methods.map_gradients import Formula
from fsl_explain.explainers.methods.xgrad_cam import xgrad_cam

FORMULAS: dict[str, Formula] = {
    "grad-cam": grad_cam,
    "grad-cam++": grad_cam_plus_plus,
    "xgrad-cam": xgrad_cam,
    "hirescam": hirescam,
    "layercam": layercam,
}
