"""SfMLearner (Zhou et al. 2017; 1704.07813): depth and camera motion learned from video alone."""
