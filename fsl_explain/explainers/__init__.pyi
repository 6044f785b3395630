from .analysis.correspondence import Correspondence, correspondence
from .analysis.counterfactual import Counterfactual, counterfactual
from .analysis.finer_correspondence import finer_correspondence
from .analysis.heads_and_blocks import heads_and_blocks
from .analysis.support_audit import SupportAudit, support_audit
from .explaining import explain, saliency
from .explanation import Explanation, load_explanation
from .methods.integrated_gradients import IntegratedGradientsOptions, integrated_gradients_method
from .methods.named import METHODS
from .methods.occlusion import OcclusionOptions, occlusion_method
from .methods.relax import Relax, RelaxOptions, relax, relax_method
from .methods.smoothgrad import SmoothGradOptions, smoothgrad_method
from .receipt import Receipt

__all__ = [
    "METHODS",
    "Correspondence",
    "Counterfactual",
    "Explanation",
    "IntegratedGradientsOptions",
    "OcclusionOptions",
    "Receipt",
    "Relax",
    "RelaxOptions",
    "SmoothGradOptions",
    "SupportAudit",
    "correspondence",
    "counterfactual",
    "explain",
    "finer_correspondence",
    "heads_and_blocks",
    "integrated_gradients_method",
    "load_explanation",
    "occlusion_method",
    "relax",
    "relax_method",
    "saliency",
    "smoothgrad_method",
    "support_audit",
]
