"prototype of the training of the generalist"
import sys,time,csv,pickle
from pathlib import Path
sys.path.insert(0,'/work/wt/seg')
import numpy as np, torch, pandas as pd
from skimage.io import imread
from celltrack.segment.augment import *
from celltrack.segment.augment import NORMAL, Source, normalize_intensity, rescale, rescale_labels, diameter_of
from celltrack.segment.generalist import read_source, simulated_sources
P=Path('/work/shared/packs')
def gray(a):
    a=np.asarray(a)
    while a.ndim>2: a=a[...,:3].mean(-1) if a.shape[-1] in (3,4) else a[0]
    return a
def pictures():
    "yield kind, name, image, labels"
    for row in csv.DictReader(open(P/'nuclei/index.csv')):
        f=row.get('file') or row.get('image'); yield 'nuclei/'+(row.get('group') or Path(f).parts[0]), f, P/'nuclei'/f, P/'nuclei'/f.replace('images','masks')
    for row in csv.DictReader(open(P/'phase/index.csv')):
        yield 'phase/'+Path(row['file']).parts[0], row['file'], P/'phase'/row['file'], P/'phase'/row['labels']
def picture_source(pics,name):
    s=Source(name,[],[],1.0)
    for kind,f,i,l in pics:
        im,la=gray(imread(i)).astype(np.float32),gray(imread(l)).astype(np.int32)
        d=diameter_of([la])
        if not np.isfinite(d): d=NORMAL
        sc=min(NORMAL/d,4); shape=[max(1,round(n*sc)) for n in la.shape]
        s.frames.append(normalize_intensity(rescale(im,shape)).astype(np.float16)); s.labels.append(rescale_labels(la,shape))
    return s

from celltrack.segment.predict import Network, to_cells, predict_maps, PARAMETERS
from celltrack.segment.generalist import HeldOut, maps_of
from celltrack.score.overlap import frame_overlap, seg
from celltrack.segment.unet import UNet, cell_loss
from celltrack.learn.train import train_network, TrainingConfig
import collections
WIDE=dict(widths=(24,48,96,192,384),fold=2,local=True)
def f1(tables,at=.5):
    tp=n=m=0
    for o in tables:
        iou=o.jaccard
        tp+=(iou>at).sum(); n+=len(o.truth_area); m+=len(o.result_area)
    return 2*tp/max(n+m,1)
def score(model,source,parameters={},most=8):
    pick=np.unique(np.linspace(0,len(source)-1,most).round().astype(int)); part=source.part(pick)
    tables=[frame_overlap(np.maximum(l,0).astype(np.int32),to_cells(maps_of(model,f.astype(np.float32),part.scale),part.scale,**parameters)) for f,l in zip(part.frames,part.labels)]
    return seg(tables)['SEG'],f1(tables),sum(len(o.truth_area) for o in tables)
FOLDS={'A':['nuclei/dsb256','DIC','phase/phc_yeast','phase/bf_yeast'],'B':['nuclei/dsb360','nuclei/dsb520','nuclei/bbbc','Fluo-N2DL','phase/phc_bact','phase/fluo_bact','phase/bf_ecoli'],'C':['nuclei/bsst','PhC-C2DL','nuclei/wc','nuclei/plant'],'D':['phase/phc_t98g','phase/phc_a549','SIM+']}
ALWAYS=['phase/dic_cho','phase/phc_c2c12','phase/fluo_ecoli']
MOVIES=['DIC-C2DH-HeLa/01','Fluo-N2DH-SIM+/01','Fluo-N2DL-HeLa/01','PhC-C2DL-PSC/01']
def all_sources():
    path=Path('/tmp/sources.pickle')
    if path.exists(): return pickle.loads(path.read_bytes())
    by=collections.defaultdict(list)
    for p in pictures(): by[p[0]].append(p)
    s={k:picture_source(v,k) for k,v in by.items()}
    s|={m:read_source(m) for m in MOVIES}
    path.write_bytes(pickle.dumps(s)); return s
def left_out(name,fold): return any(k in name for k in ALWAYS+(FOLDS[fold] if fold in FOLDS else []))
def groups_of(fold,sims,n_nuc=3,n_ph=2,n_sim=3,n_mov=4):
    s=all_sources()
    learn={k:v for k,v in s.items() if not left_out(k,fold)}
    nuc=[v for k,v in learn.items() if k.startswith('nuclei/')]; ph=[v for k,v in learn.items() if k.startswith('phase/')]
    mov=[v for k,v in learn.items() if k in MOVIES]
    g=[(mov,n_mov),(nuc,n_nuc),(ph,n_ph),(sims,n_sim)]
    return [x for x in g if x[0] and x[1]],learn
def table(model,fold,parameters={},most=6):
    rows=[]
    for k,v in all_sources().items():
        a,b,n=score(model,v,parameters,most); rows.append((k,'out' if left_out(k,fold) else 'in',round(a,3),round(b,3),n))
    return pd.DataFrame(rows,columns=['kind','fold','SEG','F1','n'])
def main(fold,steps,out,net):
    torch.set_num_threads(1); torch.manual_seed(0)
    sims=simulated_sources()
    groups,_=groups_of(fold,sims)
    model=UNet(**net)
    crops=Crops(groups,128,Augment(),5.0,model=model,seed=0)
    t=time.time()
    train_network(model,crops,cell_loss,TrainingConfig(steps=steps,every=100),Path(out))
    print('trained',time.time()-t,flush=True)
    tab=table(model.eval(),fold); tab.to_csv(Path(out)/'table.csv'); print(tab.to_string()); print(tab.groupby('fold').mean(numeric_only=True))
if __name__=='__main__':
    net={'wide':WIDE,'old':dict(),'oldlocal':dict(local=True),'small':dict(widths=(16,32,64,128,256),fold=2,local=True),'big':dict(widths=(32,64,128,256,384),fold=2,local=True)}[sys.argv[4]]
    main(sys.argv[1],int(sys.argv[2]),sys.argv[3],net)
