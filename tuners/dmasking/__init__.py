"""DMaskingNAS (Wan et al., FBNetV2): masks weigh the channels of one shared feature map by Gumbel-softmax."""
