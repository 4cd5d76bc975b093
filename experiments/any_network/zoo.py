"""Networks as people have them: small random configurations, made by the libraries that people take them from."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

CLASSES = 5


def videomae() -> nn.Module:
    from transformers import VideoMAEConfig, VideoMAEForVideoClassification

    config = VideoMAEConfig(**_small(), num_frames=8, image_size=64, patch_size=16, tubelet_size=2)
    return VideoMAEForVideoClassification(config)


def timesformer() -> nn.Module:
    from transformers import TimesformerConfig, TimesformerForVideoClassification

    return TimesformerForVideoClassification(TimesformerConfig(**_small(), num_frames=8, image_size=64, patch_size=16))


def vivit() -> nn.Module:
    from transformers import VivitConfig, VivitForVideoClassification

    return VivitForVideoClassification(VivitConfig(**_small(), num_frames=8, image_size=64, tubelet_size=[2, 16, 16]))


def vjepa2() -> nn.Module:
    from transformers import VJEPA2Config, VJEPA2ForVideoClassification

    config = VJEPA2Config(
        **_small(),
        frames_per_clip=8,
        crop_size=64,
        patch_size=16,
        tubelet_size=2,
        mlp_ratio=2.0,
        num_pooler_layers=1,
        pred_num_hidden_layers=1,
        pred_hidden_size=48,
        pred_num_attention_heads=4,
    )
    return VJEPA2ForVideoClassification(config)


def xclip_vision() -> nn.Module:
    from transformers import XCLIPVisionConfig, XCLIPVisionModel

    config = XCLIPVisionConfig(
        hidden_size=48,
        intermediate_size=96,
        num_hidden_layers=3,
        num_attention_heads=4,
        mit_hidden_size=48,
        mit_intermediate_size=96,
        mit_num_hidden_layers=1,
        mit_num_attention_heads=4,
        image_size=64,
        patch_size=16,
        num_frames=8,
    )
    return XCLIPVisionModel(config)


def hiera() -> nn.Module:
    from transformers import HieraConfig, HieraForImageClassification

    config = HieraConfig(
        embed_dim=24, image_size=[128, 128], depths=[1, 1, 2, 1], num_heads=[1, 2, 4, 8], num_labels=CLASSES
    )
    return HieraForImageClassification(config)


def hiera_timm() -> nn.Module:
    import timm

    return timm.create_model("hiera_tiny_224", pretrained=False, num_classes=CLASSES)


def dinov2_registers() -> nn.Module:
    from transformers import Dinov2WithRegistersConfig, Dinov2WithRegistersForImageClassification

    config = Dinov2WithRegistersConfig(
        hidden_size=48,
        num_hidden_layers=3,
        num_attention_heads=4,
        mlp_ratio=2,
        image_size=56,
        patch_size=14,
        num_register_tokens=4,
        num_labels=CLASSES,
    )
    return Dinov2WithRegistersForImageClassification(config)


def timm_network(name: str) -> Callable[[], nn.Module]:
    def make() -> nn.Module:
        import timm

        net: nn.Module = timm.create_model(name, pretrained=False, num_classes=CLASSES)
        return net

    return make


def slow() -> nn.Module:
    from pytorchvideo.models.resnet import create_resnet

    return create_resnet(model_depth=50, model_num_class=CLASSES, stem_dim_out=8, head_pool_kernel_size=(8, 2, 2))


def slowfast() -> nn.Module:
    from pytorchvideo.models.slowfast import create_slowfast

    return create_slowfast(
        model_depth=50,
        model_num_class=CLASSES,
        slowfast_channel_reduction_ratio=(8,),
        stem_dim_outs=(32, 4),
        head_pool_kernel_sizes=((4, 2, 2), (16, 2, 2)),
    )


def x3d() -> nn.Module:
    from pytorchvideo.models.x3d import create_x3d

    return create_x3d(input_clip_length=8, input_crop_size=64, model_num_class=CLASSES)


def csn() -> nn.Module:
    from pytorchvideo.models.csn import create_csn

    return create_csn(model_depth=50, model_num_class=CLASSES, stem_dim_out=8, head_pool_kernel_size=(1, 2, 2))


def mvit_pytorchvideo() -> nn.Module:
    from pytorchvideo.models.vision_transformers import create_multiscale_vision_transformers

    return create_multiscale_vision_transformers(
        spatial_size=64,
        temporal_size=8,
        depth=4,
        patch_embed_dim=24,
        num_heads=1,
        embed_dim_mul=[[1, 2.0]],
        atten_head_mul=[[1, 2.0]],
        pool_q_stride_size=[[1, 1, 2, 2]],
        pool_kv_stride_adaptive=[1, 4, 4],
        pool_kvq_kernel=[3, 3, 3],
        head_num_classes=CLASSES,
    )


class I3D(nn.Module):
    """Inception blocks inflated to 3D, a convolution as the head, averaged over time (Carreira and Zisserman 2017)."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            _conv3d(3, 16, 7, 2), nn.MaxPool3d((1, 3, 3), (1, 2, 2), (0, 1, 1)), _conv3d(16, 24, 3)
        )
        self.mixed_a, self.pool, self.mixed_b = Inception(24), nn.MaxPool3d(3, 2, 1), Inception(24)
        self.average, self.dropout = nn.AvgPool3d((2, 4, 4), 1), nn.Dropout(0.5)
        self.logits = nn.Conv3d(24, CLASSES, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.mixed_b(self.pool(self.mixed_a(self.stem(x))))
        return self.logits(self.dropout(self.average(x))).mean((2, 3, 4))


class Inception(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        part = width // 4
        self.b0 = _conv3d(width, part, 1)
        self.b1 = nn.Sequential(_conv3d(width, part, 1), _conv3d(part, part, 3))
        self.b2 = nn.Sequential(_conv3d(width, part, 1), _conv3d(part, part, 3))
        self.b3 = nn.Sequential(nn.MaxPool3d(3, 1, 1), _conv3d(width, part, 1))

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([branch(x) for branch in (self.b0, self.b1, self.b2, self.b3)], 1)


class C3D(nn.Module):
    """3D convolutions and a dense head, which takes one size alone (Tran et al. 2015)."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.pool1 = nn.Conv3d(3, 8, 3, padding=1), nn.MaxPool3d((1, 2, 2))
        self.conv2, self.pool2 = nn.Conv3d(8, 16, 3, padding=1), nn.MaxPool3d(2)
        self.conv3, self.pool3 = nn.Conv3d(16, 16, 3, padding=1), nn.MaxPool3d(2)
        self.fc6, self.fc7 = nn.Linear(16 * 4 * 14 * 14, 32), nn.Linear(32, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        x = self.pool1(torch.relu(self.conv1(x)))
        x = self.pool2(torch.relu(self.conv2(x)))
        x = self.pool3(torch.relu(self.conv3(x)))
        return self.fc7(torch.relu(self.fc6(x.flatten(1))))


class Shifted(nn.Module):
    """A layer on frames in the batch, of whose channels some come from the neighbors in time (Lin et al. 2019)."""

    def __init__(self, layer: nn.Module, frames: int) -> None:
        super().__init__()
        self.layer, self.frames = layer, frames

    def forward(self, x: Tensor) -> Tensor:
        clips = x.unflatten(0, (-1, self.frames))
        part = clips.shape[2] // 8
        moved = torch.zeros_like(clips)
        moved[:, :-1, :part] = clips[:, 1:, :part]
        moved[:, 1:, part : 2 * part] = clips[:, :-1, part : 2 * part]
        moved[:, :, 2 * part :] = clips[:, :, 2 * part :]
        return self.layer(moved.flatten(0, 1))


class TSM(nn.Module):
    """A 2D ResNet whose frames lie in the batch and exchange channels; (B, T, C, H, W) in."""

    def __init__(self, frames: int = 8) -> None:
        super().__init__()
        import torchvision

        self.base = torchvision.models.resnet18(num_classes=CLASSES)
        for stage in (self.base.layer1, self.base.layer2, self.base.layer3, self.base.layer4):
            for block in stage:
                block.conv1 = Shifted(block.conv1, frames)
        self.num_segments = frames

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.base(x.flatten(0, 1))
        return logits.unflatten(0, (-1, self.num_segments)).mean(1)


class ConvLSTM(nn.Module):
    """A convolutional LSTM over features of frames; (B, T, C, H, W) in (Shi et al. 2015)."""

    def __init__(self, width: int = 16) -> None:
        super().__init__()
        self.encoder = nn.Sequential(nn.Conv2d(3, width, 7, 4, 3), nn.ReLU(), nn.MaxPool2d(2))
        self.gates = nn.Conv2d(2 * width, 4 * width, 3, padding=1)
        self.head, self.width = nn.Linear(width, CLASSES), width

    def forward(self, x: Tensor) -> Tensor:
        seen = self.encoder(x.flatten(0, 1)).unflatten(0, x.shape[:2])
        hidden = cell = torch.zeros_like(seen[:, 0])
        for frame in seen.unbind(1):
            i, f, o, g = self.gates(torch.cat([frame, hidden], 1)).chunk(4, 1)
            cell = f.sigmoid() * cell + i.sigmoid() * g.tanh()
            hidden = o.sigmoid() * cell.tanh()
        return self.head(hidden.mean((2, 3)))


class Recurrent(nn.Module):
    """The CNN-LSTM of tutorials: features frame by frame, then a recurrent network; (B, T, C, H, W) in."""

    def __init__(self, kind: str = "GRU", bidirectional: bool = False, loop: bool = False) -> None:
        super().__init__()
        import torchvision

        cnn = torchvision.models.resnet18()
        cnn.fc = nn.Identity()
        self.cnn, self.loop = cnn, loop
        self.rnn = getattr(nn, kind)(512, 16, batch_first=True, bidirectional=bidirectional)
        self.fc = nn.Linear(32 if bidirectional else 16, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        if self.loop:
            seen = torch.stack([self.cnn(x[:, t]) for t in range(x.shape[1])], 1)
        else:
            seen = self.cnn(x.flatten(0, 1)).unflatten(0, x.shape[:2])
        out, _ = self.rnn(seen)
        return self.fc(out.mean(1))


def torchvision_network(name: str) -> Callable[[], nn.Module]:
    def make() -> nn.Module:
        import torchvision

        net: nn.Module = torchvision.models.get_model(name, weights=None, num_classes=CLASSES)
        return net

    return make


def _small() -> dict[str, Any]:
    return {
        "hidden_size": 48,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
        "intermediate_size": 96,
        "num_labels": CLASSES,
    }


def _conv3d(width: int, out: int, kernel: int, stride: int = 1) -> nn.Module:
    conv = nn.Conv3d(width, out, kernel, stride, kernel // 2, bias=False)
    return nn.Sequential(conv, nn.BatchNorm3d(out), nn.ReLU(inplace=True))


ZOO: dict[str, Callable[[], nn.Module]] = {
    "VideoMAE": videomae,
    "TimeSformer": timesformer,
    "ViViT": vivit,
    "V-JEPA 2": vjepa2,
    "X-CLIP's vision part": xclip_vision,
    "Hiera": hiera,
    "DINOv2 with registers": dinov2_registers,
    "timm resnet18": timm_network("resnet18"),
    "timm convnext_atto": timm_network("convnext_atto"),
    "timm vit_tiny": timm_network("vit_tiny_patch16_224"),
    "timm hiera_tiny": hiera_timm,
    "slow_r50": slow,
    "slowfast_r50": slowfast,
    "x3d": x3d,
    "csn": csn,
    "mvit (pytorchvideo)": mvit_pytorchvideo,
    "I3D": I3D,
    "C3D": C3D,
    "TSM": TSM,
    "ConvLSTM": ConvLSTM,
    "CNN-GRU": Recurrent,
    "CNN-BiLSTM": lambda: Recurrent("LSTM", bidirectional=True, loop=True),
    **{
        name: torchvision_network(name)
        for name in (
            *("r3d_18", "mc3_18", "r2plus1d_18", "s3d", "mvit_v1_b", "mvit_v2_s", "swin3d_t", "swin3d_s", "swin3d_b"),
        )
    },
}
